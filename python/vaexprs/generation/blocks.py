"""Blocks of cells: how one is made, from the latent draw to the rows.

The arithmetic of a cell is that of its tile, wherever a block begins or ends; and what is drawn
for a tile does not depend on the tiles that are drawn with it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import ArtifactError
from vaexprs.generation.decoder import Decoder
from vaexprs.generation.observation import CSR, Parameters, draw, expected
from vaexprs.spec.inputs import Cells, Inputs

__all__ = ["Block", "Job", "n_together", "pieces"]


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


@dataclass(frozen=True)
class Job:
    """What every block of one run shares."""

    decoder: Decoder
    inputs: Inputs
    seed: int
    library: NDArray[np.float32] | None
    library_start: int
    return_mean: bool
    #: Set when nobody waits for blocks any more: one under way ends after its tile.
    stopped: threading.Event = field(default_factory=threading.Event)

    def blocks(self, cuts: list[tuple[int, int]]) -> list[Block]:
        """Generate blocks one after the other."""
        return [self.block(*cut) for cut in cuts]

    def block(self, start: int, stop: int) -> Block:
        """Generate the cells ``start`` to ``stop`` from the tiles that hold them."""
        size = self.decoder.tile
        tiles = range(start - start % size, stop, size)
        parts = []
        for tile in tiles:
            if self.stopped.is_set():
                raise CancelledError
            parts.append(self._part(tile, tile + size, start, stop))
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        rows = [part.X for part in parts]
        return Block(
            first_cell=start,
            codes=np.concatenate([part.codes for part in parts]),
            unseen=np.concatenate([part.unseen for part in parts]),
            z=np.concatenate([part.z for part in parts]),
            library=None
            if first.library is None
            else np.concatenate([part.library for part in parts if part.library is not None]),
            X=np.concatenate([x for x in rows if isinstance(x, np.ndarray)])
            if self.return_mean
            else CSR.concatenate([x for x in rows if isinstance(x, CSR)], first.X.shape[1]),
        )

    def _part(self, tile: int, tile_end: int, start: int, stop: int) -> Block:
        """Compute one tile whole, keep those of its cells that lie in the block."""
        cells = self.inputs.draw(seed=self.seed, first_cell=tile, n_cells=tile_end - tile)
        first, last = max(start, tile), min(stop, tile_end)
        kept, library = slice(first - tile, last - tile), cells.library
        if library is not None and self.library is not None:
            library[kept] = self.library[first - self.library_start : last - self.library_start]
        parameters = self.decoder.decode(cells.of_decoder)
        if last - first < tile_end - tile:
            parameters = parameters.rows(kept)
        return Block(
            first_cell=first,
            codes=cells.codes[kept],
            unseen=cells.unseen[kept],
            z=cells.z[kept],
            library=None if library is None else library[kept],
            X=self._observe(parameters, cells, kept, first),
        )

    def _observe(
        self, parameters: Parameters, cells: Cells, kept: slice, first_cell: int
    ) -> CSR | NDArray[np.float32]:
        spec = self.decoder.spec
        try:
            if self.return_mean:
                return expected(spec, parameters)
            return draw(
                spec,
                parameters,
                seed=self.seed,
                first_cell=first_cell,
                streams=cells.streams[kept],
            )
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
