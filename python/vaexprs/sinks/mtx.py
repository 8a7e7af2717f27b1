"""The ``.mtx.gz`` sink: the layout of 10x, which scanpy and Seurat read.

``matrix.mtx.gz`` holds genes x cells in Matrix Market's coordinates; ``barcodes.tsv.gz`` and
``features.tsv.gz`` lie beside it, and ``obs.tsv.gz`` with what the layout has no place for. A
prefix of the first is that of all: ``run1_matrix.mtx.gz``.
"""

from __future__ import annotations

import contextlib
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from vaexprs.generation.blocks import Block
from vaexprs.generation.obs import free_name, obs_columns
from vaexprs.generation.observation import CSR
from vaexprs.sinks.base import Run

#: Level of deflate: 1 is three times as fast as 6 and a tenth larger.
_LEVEL = 1
#: Digits of the largest size: the line of sizes is written again at the end, as long as before.
_DIGITS = 20


class MtxSink:
    """Writes ``matrix.mtx.gz`` and the files beside it."""

    def __init__(self, matrix: Path, barcodes: Path, features: Path, obs: Path) -> None:
        self._paths = {"matrix": matrix, "barcodes": barcodes, "features": features, "obs": obs}
        self._open = contextlib.ExitStack()

    @staticmethod
    def beside(path: Path) -> list[Path]:
        """Return the names of the files that come with a matrix."""
        prefix = path.name.removesuffix("mtx.gz").removesuffix("matrix.")
        names = ("barcodes", "features", "obs")
        return [path.with_name(f"{prefix}{name}.tsv.gz") for name in names]

    def open(self, run: Run) -> None:
        """Write the names of the genes and the head of the table of cells."""
        self._run, self._next_cell, self._n_values, self._whole = run, run.first_cell, 0, True
        self._files = {
            name: self._open.enter_context(path.open("w+b")) for name, path in self._paths.items()
        }
        self._columns = obs_columns(run.spec)
        self._put("matrix", self._head(), level=0)
        names = [_field(name) for name in run.spec.var_names]
        self._put("features", "".join(f"{n}\t{n}\tGene Expression\n" for n in names))
        names = [_field(column.name) for column in self._columns]
        head = [free_name("cell", names), *names]
        self._put("obs", "\t".join(head) + "\n")

    def write(self, block: Block) -> None:
        """Write the next block."""
        rows = block.X if isinstance(block.X, CSR) else CSR.from_dense(block.X)
        whole = bool((rows.data == np.rint(rows.data)).all())
        cell = np.repeat(np.arange(block.n_cells), np.diff(rows.indptr))
        cell += 1 + self._next_cell - self._run.first_cell
        values = rows.data.astype(np.int64) if whole else rows.data
        line = "%d %d %d\n" if whole else "%d %d %.9g\n"
        entries = zip((rows.indices + 1).tolist(), cell.tolist(), values.tolist(), strict=True)
        self._put("matrix", "".join([line % entry for entry in entries]))
        self._n_values += len(rows.data)
        self._whole &= whole
        names = self._run.cell_names(self._next_cell, block.n_cells)
        self._put("barcodes", "".join(f"{name}\n" for name in names))
        table = [names, *(self._texts(column, block) for column in self._columns)]
        self._put("obs", "".join("\t".join(row) + "\n" for row in zip(*table, strict=True)))
        self._next_cell += block.n_cells

    def commit(self) -> None:
        """Write the sizes, which are known now, and close."""
        self._files["matrix"].seek(0)
        self._put("matrix", self._head(), level=0)
        self._open.close()

    def abort(self) -> None:
        """Close; what was written does not count."""
        with contextlib.suppress(OSError):
            self._open.close()

    def _head(self) -> str:
        kind = "integer" if self._whole else "real   "
        sizes = self._run.spec.n_genes, self._run.n_cells, self._n_values
        line = " ".join(f"{size:<{_DIGITS}}" for size in sizes)
        return f"%%MatrixMarket matrix coordinate {kind} general\n{line}\n"

    def _put(self, name: str, text: str, level: int = _LEVEL) -> None:
        """Append a member of a gzip file: a file of several is read as one text."""
        packer = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS + 16)
        self._files[name].write(packer.compress(text.encode()) + packer.flush())

    def _texts(self, column: Any, block: Block) -> list[str]:
        values = np.asarray(column.values(block), column.dtype).tolist()
        if column.key is None:
            return [f"{value:.9g}" if isinstance(value, float) else str(value) for value in values]
        names = [_field(str(category)) for category in column.key.categories]
        return [names[code] for code in values]


def _field(text: str) -> str:
    """Return a text that fits into one field of a table; one that holds quotes is quoted."""
    text = " ".join(text.split())
    return '"' + text.replace('"', '""') + '"' if '"' in text else text
