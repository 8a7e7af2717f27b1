"""The sink in memory: blocks in, an AnnData out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vaexprs.errors import ArgumentError, require
from vaexprs.generation.generator import Block
from vaexprs.generation.obs import obs_frame, var_frame
from vaexprs.generation.observation import CSR
from vaexprs.sinks.base import Run

if TYPE_CHECKING:
    from anndata import AnnData


class MemorySink:
    """Collects blocks; `commit` returns the AnnData that `vaexprs.gen_exprs` describes.

    Raises
    ------
    MissingExtraError
        If anndata is not installed.
    ArgumentError
        If memory cannot hold the cells.
    """

    def __init__(self) -> None:
        self._anndata = require("anndata", extra="anndata", purpose="Making an AnnData")
        self._pandas = require("pandas", extra="anndata", purpose="Making an AnnData")
        self._blocks: list[Block] = []

    def open(self, run: Run) -> None:
        """Prepare for the cells of a run."""
        self._run = run
        # Not touched yet: a number of cells beyond all memory fails here, before the first.
        shape = (run.n_cells, run.spec.n_latent)
        try:
            self._z = np.empty(shape, np.float32)
        except (MemoryError, ValueError) as error:
            raise ArgumentError(
                f"{run.n_cells:,} cells do not fit into memory: their latent variables alone take "
                f"{4e-9 * shape[0] * shape[1]:,.0f} GB. Write them to a file with write_exprs, or "
                "ask for fewer at a time (first_cell=..., shard=...)."
            ) from error

    def write(self, block: Block) -> None:
        """Take the next block."""
        self._blocks.append(block)

    def commit(self) -> AnnData:
        """Return the cells."""
        run, blocks, pandas = self._run, self._blocks, self._pandas
        spec = run.spec
        rows: list[Any] = [block.X for block in blocks]
        x: Any = (
            np.concatenate([np.empty((0, spec.n_genes), np.float32), *rows])
            if run.dense
            else CSR.concatenate(rows, spec.n_genes).to_scipy()
        )
        np.concatenate([self._z[:0], *(block.z for block in blocks)], out=self._z)
        names = pandas.Index(run.cell_names(run.first_cell, run.n_cells), dtype=object)
        made: AnnData = self._anndata.AnnData(
            X=x,
            obs=obs_frame(spec, blocks, names),
            var=var_frame(spec),
            obsm={"z": self._z},
            uns={"vaexprs": run.uns},
        )
        return made

    def abort(self) -> None:
        """Let the blocks go."""
        self._blocks = []
