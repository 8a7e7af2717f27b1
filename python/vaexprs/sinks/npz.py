"""The ``.npz`` sink: cells as a sparse matrix that `scipy.sparse.load_npz` reads.

Beside ``data``, ``indices``, ``indptr``, ``shape`` and ``format`` (or ``X``, where values are
expected ones) are ``var_names``, ``obs_names``, ``z``, the columns of ``obs`` as ``obs/NAME``, with
``categories/NAME`` where they are codes, and ``vaexprs``, ``uns["vaexprs"]`` as JSON. None needs a
pickle.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from vaexprs.generation.blocks import Block
from vaexprs.generation.obs import obs_columns
from vaexprs.generation.observation import CSR
from vaexprs.sinks.base import Run

#: Level of deflate: 1 is three times as fast as 6 and a tenth larger.
_LEVEL = 1


class NpzSink:
    """Writes an ``.npz``.

    Arrays that grow wait in files beside it: a zip takes one at a time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._growing: dict[str, _Growing] = {}

    def open(self, run: Run) -> None:
        """Start the arrays that grow with the cells."""
        spec, self._run = run.spec, run
        self._columns, self._next_cell = obs_columns(spec), run.first_cell
        last = run.cell_names(run.first_cell + max(run.n_cells - 1, 0), 1)[0]
        kinds: dict[str, tuple[Any, tuple[int, ...]]] = {"X": (np.float32, (spec.n_genes,))}
        if not run.dense:
            kinds = {"data": (np.float32, ()), "indices": (np.int32, ()), "indptr": (np.int64, ())}
        kinds |= {"obs_names": (f"<U{len(last)}", ()), "z": (np.float32, (spec.n_latent,))}
        kinds |= {f"obs/{column.name}": (column.dtype, ()) for column in self._columns}
        for place, (name, kind) in enumerate(kinds.items()):
            self._growing[name] = _Growing(self._path.with_name(f"array{place}"), *kind)
        if not run.dense:
            self._append("indptr", np.zeros(1))

    def write(self, block: Block) -> None:
        """Take the next block."""
        if isinstance(block.X, CSR):
            self._append("indptr", block.X.indptr[1:] + self._growing["data"].n_rows)
            self._append("data", block.X.data)
            self._append("indices", block.X.indices)
        else:
            self._append("X", block.X)
        self._append("obs_names", self._run.cell_names(self._next_cell, block.n_cells))
        self._append("z", block.z)
        for column in self._columns:
            self._append(f"obs/{column.name}", column.values(block))
        self._next_cell += block.n_cells

    def commit(self) -> None:
        """Compress all arrays into one file."""
        spec, run = self._run.spec, self._run
        facts = json.dumps(run.uns, default=lambda value: value.tolist(), ensure_ascii=False)
        whole: dict[str, Any] = {"var_names": np.array(spec.var_names, str), "vaexprs": facts}
        if not run.dense:
            shape = np.array([run.n_cells, spec.n_genes], np.int64)
            whole |= {"shape": shape, "format": np.array(b"csr")}
        for column in self._columns:
            if column.key is not None:
                values = np.asarray(column.key.values())
                values = values.astype(str) if values.dtype == object else values
                whole[f"categories/{column.name}"] = values
        with zipfile.ZipFile(
            self._path, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL
        ) as archive:
            for name, value in whole.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(value), allow_pickle=False)
            for name, grown in self._growing.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    grown.copy_to(member)
        self.abort()

    def abort(self) -> None:
        """Remove what waits."""
        for grown in self._growing.values():
            grown.remove()
        self._growing = {}

    def _append(self, name: str, rows: Any) -> None:
        self._growing[name].append(rows)


class _Growing:
    """An array that grows in a file."""

    def __init__(self, path: Path, dtype: Any, tail: tuple[int, ...]) -> None:
        self._path, self._dtype, self._tail, self.n_rows = path, np.dtype(dtype), tail, 0
        self._file = path.open("w+b")

    def append(self, rows: Any) -> None:
        rows = np.ascontiguousarray(rows, self._dtype)
        self._file.write(rows.data)
        self.n_rows += len(rows)

    def copy_to(self, member: Any) -> None:
        header = {
            "descr": self._dtype.str,
            "fortran_order": False,
            "shape": (self.n_rows, *self._tail),
        }
        np.lib.format.write_array_header_2_0(member, header)
        self._file.seek(0)
        while piece := self._file.read(1 << 20):
            member.write(piece)

    def remove(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)
