"""AnnData's layout on disk, written once for every store: h5ad and zarr differ in a `Store` only.

The layout is AnnData's specification ("On-disk format", element versions 0.1.0 and 0.2.0), so
that ``read_h5ad``, ``read_zarr`` and the backed and lazy readers open it. Neither anndata nor
pandas is needed to write it. Blocks leave as they come, in bounded memory. Between two blocks the
rows that wait for their chunks to fill are all the state there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vaexprs.generation.generator import Block
from vaexprs.generation.obs import ObsColumn, obs_columns
from vaexprs.generation.observation import CSR
from vaexprs.sinks.base import Run
from vaexprs.sinks.chunks import Column, Queue, StoredArray
from vaexprs.sinks.journal import State


class Store(Protocol):
    """A tree of groups and arrays with attributes.

    Where it was opened to go on, what is there stays, and `grow` returns the array that is there.

    Attributes
    ----------
    chunk
        Values in a chunk of an array.
    """

    chunk: int

    def group(self, path: str, attributes: Mapping[str, Any]) -> None:
        """Make a group; the path of the root is empty."""

    def save(self, path: str, value: Any, attributes: Mapping[str, Any]) -> None:
        """Store a text, a number, an array of numbers, or an object array of texts, as it is."""

    def grow(
        self, path: str, chunk: tuple[int, ...], dtype: Any, attributes: Mapping[str, Any]
    ) -> StoredArray:
        """Make an array without rows yet; `dtype` is object for text."""


#: Most values in a chunk of an array with rows for cells: 1 MiB of float32. What waits until its
#: chunk is full is part of each state of a run that can go on, so these chunks are small.
_OF_CELLS = 1 << 18
#: Arrays that hold the values of all cells, one after the other.
_FLAT = ("X/data", "X/indices")


def chunk_shape(store: Store, path: str, n_rows: int, width: int | None = None) -> tuple[int, ...]:
    """Return the shape of the chunks of an array, of so many rows unless it holds values of X."""
    most = store.chunk if path in ("X", *_FLAT) else min(store.chunk, _OF_CELLS)
    longest = max(most // max(width or 1, 1), 1)
    length = longest if path in _FLAT else min(max(n_rows, 1), longest)
    return (length, *(() if width is None else (width,)))


def _encoding(kind: str, version: str = "0.2.0", **more: Any) -> dict[str, Any]:
    return {"encoding-type": kind, "encoding-version": version, **more}


class AnnDataWriter:
    """Writes the blocks of one run into a store, as an AnnData.

    Parameters
    ----------
    store, run
        Where to, and which run.
    state
        What `state` returned in an earlier process, to go on from there.
    """

    def __init__(self, store: Store, run: Run, state: State | None = None) -> None:
        self._store, self._run = store, run
        self._queue = Queue(run.n_threads)
        self._next_cell = run.first_cell
        self._n_values, self._is_new = 0, state is None
        self._columns: list[Column] = []
        spec = run.spec
        store.group("", _encoding("anndata", "0.1.0"))
        self._start_x()
        self._obs = obs_columns(spec)
        self._start_frame("obs", [column.name for column in self._obs])
        self._names = self._column("obs/_index", object, kind="string-array")
        self._obs_columns = [self._start_obs(column) for column in self._obs]
        store.group("obsm", _encoding("dict", "0.1.0"))
        self._z = self._column("obsm/z", np.float32, width=spec.n_latent)
        self._start_frame("var", list(spec.var))
        for name, texts in {"_index": spec.var_names, **spec.var}.items():
            self._save_array(f"var/{name}", np.array(texts, dtype=object))
        self._save_dict("uns", {"vaexprs": run.uns})
        for name in ("layers", "obsp", "varm", "varp"):
            store.group(name, _encoding("dict", "0.1.0"))
        if state is not None:
            self._start_at(state)

    def write(self, block: Block) -> None:
        """Take the next block."""
        if isinstance(block.X, CSR):
            self._data.append(block.X.data)
            self._indices.append(block.X.indices)
            self._indptr.append(block.X.indptr[1:] + self._n_values)
            self._n_values += len(block.X.data)
        else:
            self._x.append(block.X)
        for column, stored in zip(self._obs, self._obs_columns, strict=True):
            stored.append(column.values(block))
        self._names.append(self._run.cell_names(self._next_cell, block.n_cells))
        self._z.append(block.z)
        self._next_cell += block.n_cells

    def finish(self) -> None:
        """Write what is held."""
        for column in self._columns:
            column.close()
        self._queue.drain()
        self._queue.stop()

    def checkpoint(self, keep: Callable[[dict[str, NDArray[Any]]], object]) -> None:
        """Call a function with what `state` returns now, once all is stored that it stands on."""
        self._queue.call(partial(keep, self.state()))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what it takes to go on after what was sent to be stored."""
        state = {
            "n_done": np.array(self._next_cell - self._run.first_cell),
            "n_values": np.array(self._n_values),
            "sent": np.array([column.sent for column in self._columns]),
        }
        for i, column in enumerate(self._columns):
            if column is not self._names:
                state[f"held_{i}"] = column.held
        return state

    def _start_at(self, state: State) -> None:
        n_done = int(state["n_done"])
        self._next_cell, self._n_values = self._run.first_cell + n_done, int(state["n_values"])
        for i, (column, sent) in enumerate(zip(self._columns, state["sent"].tolist(), strict=True)):
            if column is self._names:
                held: Any = self._run.cell_names(self._run.first_cell + sent, n_done - sent)
            else:
                held = state[f"held_{i}"]
            column.start_at(sent, held)

    def stop(self) -> None:
        """End the threads; what waits is dropped."""
        self._queue.stop()

    def _start_x(self) -> None:
        n_cells, n_genes = self._run.n_cells, self._run.spec.n_genes
        if self._run.dense:
            self._x = self._column("X", np.float32, width=n_genes)
            return
        shape = np.array([n_cells, n_genes], np.int64)
        self._store.group("X", _encoding("csr_matrix", "0.1.0", shape=shape))
        # Parts of one element: without encodings of their own.
        self._data = self._column("X/data", np.float32, kind="")
        self._indices = self._column("X/indices", np.int32, kind="")
        self._indptr = self._column("X/indptr", np.int64, n_rows=n_cells + 1, kind="")
        if self._is_new:
            self._indptr.append(np.zeros(1, np.int64))

    def _start_obs(self, column: ObsColumn) -> Column:
        path = f"obs/{column.name}"
        if column.key is None:
            return self._column(path, column.dtype)
        self._store.group(path, _encoding("categorical", ordered=column.key.ordered))
        self._save_array(f"{path}/categories", column.key.values())
        return self._column(f"{path}/codes", column.dtype)

    def _column(
        self,
        path: str,
        dtype: Any,
        *,
        n_rows: int | None = None,
        width: int | None = None,
        kind: str = "array",
    ) -> Column:
        """Start an array of `n_rows` rows, one for each cell if not given."""
        n_rows = self._run.n_cells if n_rows is None else n_rows
        chunk = chunk_shape(self._store, path, n_rows, width)
        attributes = _encoding(kind) if kind else {}
        column = Column(self._store.grow(path, chunk, dtype, attributes), self._queue)
        self._columns.append(column)
        return column

    def _start_frame(self, path: str, columns: Sequence[str]) -> None:
        order = np.array(columns, dtype=object)
        attributes = _encoding("dataframe") | {"_index": "_index", "column-order": order}
        self._store.group(path, attributes)

    def _save_array(self, path: str, values: NDArray[Any]) -> None:
        kind = "string-array" if values.dtype == object else "array"
        self._store.save(path, values, _encoding(kind))

    def _save_dict(self, path: str, values: Mapping[str, Any]) -> None:
        self._store.group(path, _encoding("dict", "0.1.0"))
        for name, value in values.items():
            here = f"{path}/{name}"
            if isinstance(value, Mapping):
                self._save_dict(here, value)
            elif isinstance(value, str):
                self._store.save(here, value, _encoding("string"))
            elif isinstance(value, np.ndarray):
                self._save_array(here, value)
            else:
                self._store.save(here, np.asarray(value), _encoding("numeric-scalar"))
