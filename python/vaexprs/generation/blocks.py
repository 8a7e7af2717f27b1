"""Blocks of cells: how one is made, from the latent draw to the rows.

A cell gets the bits that it has in its tile, wherever a block begins or ends.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import ArtifactError
from vaexprs.generation.decoder import Decoder
from vaexprs.generation.observation import CSR, Parameters, draw, expected
from vaexprs.generation.portable import PortableDecoder
from vaexprs.spec.inputs import Cells, Inputs


@dataclass(frozen=True)
class Block:
    """Consecutive generated cells.

    Attributes
    ----------
    first_cell
        Global index of the first cell.
    codes
        Category codes of the condition keys, ``(n_cells, n_keys)``, int32.
    unseen
        Whether a cell's combination of categories had no training cell, ``(n_cells,)``.
    z
        Latent variables, ``(n_cells, n_latent)``, float32.
    library
        Library sizes that the decoder was given (total counts), ``(n_cells,)``, float32, or None.
    X
        Values, ``(n_cells, n_genes)``: `CSR` rows, or a dense array of expected values.
    """

    first_cell: int
    codes: NDArray[np.int32]
    unseen: NDArray[np.bool_]
    z: NDArray[np.float32]
    library: NDArray[np.float32] | None
    X: CSR | NDArray[np.float32]

    @property
    def n_cells(self) -> int:
        """Number of cells in the block."""
        return len(self.codes)

    def part(self, start: int, stop: int) -> Block:
        """Return the cells with global indices ``start`` to ``stop``, as views."""
        rows = slice(start - self.first_cell, stop - self.first_cell)
        return Block(
            first_cell=start,
            codes=self.codes[rows],
            unseen=self.unseen[rows],
            z=self.z[rows],
            library=None if self.library is None else self.library[rows],
            X=self.X[rows] if isinstance(self.X, np.ndarray) else self.X.rows(rows),
        )

    @classmethod
    def joined(cls, parts: Sequence[Block]) -> Block:
        """Return consecutive blocks as one."""
        first, rows = parts[0], [part.X for part in parts]
        if len(parts) == 1:
            return first
        return cls(
            first_cell=first.first_cell,
            codes=np.concatenate([part.codes for part in parts]),
            unseen=np.concatenate([part.unseen for part in parts]),
            z=np.concatenate([part.z for part in parts]),
            library=None
            if first.library is None
            else np.concatenate([part.library for part in parts if part.library is not None]),
            X=np.concatenate([x for x in rows if isinstance(x, np.ndarray)])
            if isinstance(first.X, np.ndarray)
            else CSR.concatenate([x for x in rows if isinstance(x, CSR)], first.X.shape[1]),
        )


@dataclass(frozen=True)
class Job:
    """The settings of one run, shared by its blocks."""

    decoder: Decoder | PortableDecoder
    inputs: Inputs
    seed: int
    library: NDArray[np.float32] | None
    library_start: int
    return_mean: bool
    #: Set when the run is abandoned: a block under way ends after its tile.
    stopped: threading.Event = field(default_factory=threading.Event)

    def blocks(self, cuts: list[tuple[int, int]]) -> list[Block]:
        """Generate consecutive blocks."""
        if len(cuts) == 1 or cuts[0][1] - cuts[0][0] >= self.decoder.tile:
            return [self.block(*cut) for cut in cuts]
        # Small blocks are made as one, since tiles decode best.
        whole = self.block(cuts[0][0], cuts[-1][1])
        return [whole.part(*cut) for cut in cuts]

    def block(self, start: int, stop: int) -> Block:
        """Generate the cells ``start`` to ``stop``."""
        parts: list[Block] = []
        at = start
        while at < stop:
            if self.stopped.is_set():
                raise CancelledError
            parts.append(self._part(at, stop))
            at += parts[-1].n_cells
        return Block.joined(parts)

    def _part(self, start: int, stop: int) -> Block:
        """Generate cells from ``start`` on, as many as are decoded together."""
        first, n_rows, n_cells = self._rows(start, stop)
        cells = self.inputs.draw(seed=self.seed, first_cell=first, n_cells=n_rows)
        kept, library = slice(start - first, start - first + n_cells), cells.library
        if library is not None and self.library is not None:
            at = start - self.library_start
            library[kept] = self.library[at : at + n_cells]
        parameters = self.decoder.decode(cells.of_decoder)
        if n_cells < n_rows:
            parameters = parameters.rows(kept)
        return Block(
            first_cell=start,
            codes=cells.codes[kept],
            unseen=cells.unseen[kept],
            z=cells.z[kept],
            library=None if library is None else library[kept],
            X=self._observe(parameters, cells, kept, start),
        )

    def _rows(self, start: int, stop: int) -> tuple[int, int, int]:
        """Return which rows to decode: the first cell, their number, and how many are kept.

        They stay within a tile, and are a power of two, so that few numbers of rows are in use.
        """
        size = self.decoder.tile
        tile = start - start % size
        n_cells = min(stop, tile + size) - start
        n_rows = 1 << (n_cells - 1).bit_length()
        # Rather two calls than more than a quarter of the rows for nothing.
        if n_rows - n_cells > n_rows // 4 or (n_rows == size and start > tile):
            n_rows //= 2
        if n_rows < size and self.decoder.decodes_alone(n_rows):
            return start, n_rows, min(n_rows, n_cells)
        return tile, size, n_cells

    def _observe(
        self, parameters: Parameters, cells: Cells, kept: slice, first_cell: int
    ) -> CSR | NDArray[np.float32]:
        spec = self.decoder.spec
        try:
            if self.return_mean:
                return expected(spec, parameters)
            where = {"seed": self.seed, "first_cell": first_cell}
            return draw(spec, parameters, **where, streams=cells.streams[kept])
        except ValueError as error:
            raise ArtifactError(f"{self.decoder.name}: output {error}") from error


def n_together(n_entries: int) -> int:
    """Return how many pieces of so many entries make enough work to share its overhead."""
    return int(np.clip(2**22 // n_entries, 1, 16))


def pieces(
    start: int, stop: int, block_size: int, n_workers: int, n_at_most: int
) -> Iterator[list[tuple[int, int]]]:
    """Yield the blocks ``(first, last + 1)`` of the cells start to stop, as a worker takes them.

    Several at once, up to `n_at_most`, because to wake another worker costs as much as a few cells;
    but no more than half of a worker's share of what is left, so that none is still at its last
    ones when the others are done (guided self-scheduling, Polychronopoulos and Kuck, IEEE
    Transactions on Computers 36, 1987).
    """
    starts = range(start, stop, block_size)
    while starts:
        n = int(np.clip(len(starts) // (2 * n_workers), 1, n_at_most))
        yield [(at, min(at + block_size, stop)) for at in starts[:n]]
        starts = starts[n:]
