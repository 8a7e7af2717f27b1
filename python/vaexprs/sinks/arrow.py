"""The ``.arrow`` sink: Arrow record batches, to a file or to standard output.

A file is in Arrow's IPC file format, a stream in its streaming format. One record batch holds one
block, one row a cell: its name, the columns of ``obs``, ``z``, and its values, as the two lists
``indices`` and ``values`` of a CSR row, or as one list of all genes where values are expected ones.
A condition key with one of these names keeps it, and that column of ours starts with ``vaexprs_``.
The metadata of the schema hold ``var_names`` and ``vaexprs`` (``uns["vaexprs"]``) as JSON.
"""

from __future__ import annotations

import contextlib
import json
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vaexprs.errors import require
from vaexprs.generation.blocks import Block
from vaexprs.generation.obs import ObsColumn, free_name, obs_columns
from vaexprs.generation.observation import CSR
from vaexprs.sinks.base import Run


class ArrowSink:
    """Writes record batches.

    Raises
    ------
    MissingExtraError
        If pyarrow is not installed.
    """

    def __init__(self, target: Path | BinaryIO) -> None:
        self._arrow = require("pyarrow", extra="arrow", purpose="Writing Arrow record batches")
        self._target = target
        self._open = contextlib.ExitStack()

    def open(self, run: Run) -> None:
        """Write the schema."""
        pa, spec = self._arrow, run.spec
        import pyarrow.ipc

        values = pa.list_(pa.float32(), spec.n_genes) if run.dense else pa.list_(pa.float32())
        self._run, self._next_cell = run, run.first_cell
        self._columns = obs_columns(spec)
        free = partial(free_name, taken=[column.name for column in self._columns])
        fields = [(free("cell"), pa.string())]
        fields += [(column.name, self._type(column)) for column in self._columns]
        fields += [(free("z"), pa.list_(pa.float32(), spec.n_latent))]
        fields += [] if run.dense else [(free("indices"), pa.list_(pa.int32()))]
        facts = json.dumps(run.uns, default=lambda value: value.tolist(), ensure_ascii=False)
        names = json.dumps(spec.var_names, ensure_ascii=False)
        metadata = {"vaexprs": facts, "var_names": names}
        self._schema = pa.schema([*fields, (free("values"), values)], metadata=metadata)
        to_file = isinstance(self._target, Path)
        target = str(self._target) if to_file else self._target
        new = pyarrow.ipc.new_file if to_file else pyarrow.ipc.new_stream
        self._writer = self._open.enter_context(new(target, self._schema))

    def write(self, block: Block) -> None:
        """Write the next block as one record batch."""
        pa, n_cells = self._arrow, block.n_cells
        columns = [self._run.cell_names(self._next_cell, n_cells)]
        columns += [self._values(column, block) for column in self._columns]
        columns += [_fixed(pa, block.z)]
        if isinstance(block.X, CSR):
            ends = block.X.indptr.astype(np.int32)
            columns += [pa.ListArray.from_arrays(ends, part) for part in _of(pa, block.X)]
        else:
            columns += [_fixed(pa, block.X)]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))
        self._next_cell += n_cells

    def commit(self) -> None:
        """Write the end."""
        self._open.close()

    def abort(self) -> None:
        """Close; what was written does not count."""
        with contextlib.suppress(Exception):  # a disk or pipe that failed fails again
            self._open.close()

    def _type(self, column: ObsColumn) -> Any:
        pa, plain = self._arrow, self._arrow.from_numpy_dtype(np.dtype(column.dtype))
        if column.key is None:
            return plain
        return pa.dictionary(plain, pa.array(column.key.values()).type, ordered=column.key.ordered)

    def _values(self, column: ObsColumn, block: Block) -> Any:
        pa, values = self._arrow, np.asarray(column.values(block), column.dtype)
        if column.key is None:
            return pa.array(values)
        categories = pa.array(column.key.values())
        return pa.DictionaryArray.from_arrays(values, categories, ordered=column.key.ordered)


def _of(pa: Any, rows: CSR) -> tuple[Any, Any]:
    return pa.array(rows.indices), pa.array(rows.data)


def _fixed(pa: Any, rows: Any) -> Any:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(rows)), rows.shape[1])
