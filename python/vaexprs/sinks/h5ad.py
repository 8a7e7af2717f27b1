"""The ``.h5ad`` sink: AnnData's layout in HDF5, by h5py alone.

Numbers leave as whole HDF5 chunks, shuffled and deflated on threads of our own and stored by
``write_direct_chunk``. HDF5's own filters would store the same, on one thread with zlib; any
reader decodes it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from vaexprs.generation.generator import Block
from vaexprs.sinks.base import Run
from vaexprs.sinks.forgiving import ForgivingFile
from vaexprs.sinks.journal import Journal, State, refused_if_damaged
from vaexprs.sinks.layout import AnnDataWriter

isal_zlib: Any
try:  # five times as fast as zlib; not built for every system
    from isal import isal_zlib
except ImportError:
    isal_zlib = zlib

__all__ = ["H5adSink"]

_TEXT = h5py.string_dtype("utf-8")
_TEXT_IN_FILE = h5py.h5t.py_create(_TEXT, logical=True)
_SCALAR = h5py.h5s.create(h5py.h5s.SCALAR)


class H5adSink:
    """Writes an ``.h5ad``; goes on with one where the journal has a state."""

    resumes = True

    def __init__(self, path: Path, journal: Journal | None = None) -> None:
        self._path, self._journal = path, journal
        self._store: Hdf5Store | None = None
        self._writer: AnnDataWriter | None = None

    def open(self, run: Run) -> None:
        """Make the file and write all that is known before the cells."""
        state = None if self._journal is None else self._journal.state
        with refused_if_damaged(self._path, state):
            self._store = Hdf5Store(self._path, state)
            if state is not None and "closed" in state:
                self._store.output.apply(state)
            else:
                self._store.open()
                self._writer = AnnDataWriter(self._store, run, state)

    def write(self, block: Block) -> None:
        """Take the next block."""
        assert self._store is not None
        assert self._writer is not None
        self._store.output.raise_error()
        self._writer.write(block)
        if self._journal is not None and self._journal.due(block.n_cells):
            self._writer.checkpoint(self._save)

    def commit(self) -> None:
        """Write what is held and close the file."""
        assert self._store is not None
        if self._writer is not None:
            self._writer.finish()
            if self._journal is not None:
                self._journal.wait()
            self._store.close()
            self._store.output.raise_error()
            if self._journal is not None and self._store.output.has_snapshot:
                # Closing has changed what the last state stands on.
                self._journal.save(
                    self._closed_state, lambda: [self._path], self._store.output.apply
                )
                self._journal.wait()

    def abort(self) -> None:
        """Close the file; what is in it since the last state does not count."""
        if self._writer is not None:
            self._writer.stop()
        if self._store is not None:
            self._store.close()

    def _save(self, state: State) -> None:
        def with_snapshot() -> State:
            assert self._store is not None
            self._store.flush()
            self._store.output.raise_error()
            return {**state, **self._store.output.snapshot()}

        assert self._store is not None
        assert self._journal is not None
        self._journal.save(with_snapshot, lambda: [self._path], self._store.output.apply)

    def _closed_state(self) -> State:
        assert self._store is not None
        assert self._writer is not None
        return self._writer.state() | self._store.output.snapshot() | {"closed": np.array(True)}


class Hdf5Store:
    """Groups and arrays in an HDF5 file.

    Parameters
    ----------
    path
        The file.
    state
        Holds the snapshot to go on from; None for a new file.
    """

    #: 1 MiB of float32, which compresses and streams well.
    chunk = 1 << 18

    def __init__(self, path: Path, state: State | None = None) -> None:
        self.output = ForgivingFile(path, state)
        self._mode = "w" if state is None else "r+"
        self._file: h5py.File | None = None

    def open(self) -> None:
        """Let HDF5 make or open the file."""
        self._file = h5py.File(self.output, self._mode)

    def flush(self) -> None:
        """Write HDF5's own bookkeeping."""
        assert self._file is not None
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self.output.close()

    def group(self, path: str, attributes: Mapping[str, Any]) -> None:
        assert self._file is not None
        if self._mode == "w":
            _set(self._file.create_group(path) if path else self._file, attributes)

    def save(self, path: str, value: Any, attributes: Mapping[str, Any]) -> None:
        assert self._file is not None
        if self._mode != "w":
            return
        text = isinstance(value, str) or value.dtype == object
        _set(self._file.create_dataset(path, data=value, dtype=_TEXT if text else None), attributes)

    def grow(
        self, path: str, chunk: tuple[int, ...], dtype: Any, attributes: Mapping[str, Any]
    ) -> _Array:
        assert self._file is not None
        if self._mode != "w":
            return _Array(self._file[path], np.dtype(dtype))
        text = dtype is object
        packed = {} if text else {"shuffle": True, "compression": "gzip", "compression_opts": 1}
        dataset = self._file.create_dataset(
            path,
            shape=(0, *chunk[1:]),
            maxshape=(None, *chunk[1:]),
            chunks=chunk,
            dtype=_TEXT if text else np.dtype(dtype).newbyteorder("<"),
            **packed,
        )
        _set(dataset, attributes)
        return _Array(dataset, np.dtype(dtype))


class _Array:
    """A dataset that grows by whole chunks."""

    def __init__(self, dataset: h5py.Dataset, dtype: np.dtype[Any]) -> None:
        self._dataset, self.dtype = dataset, dtype
        self.chunk = dataset.chunks
        self.n_rows = 0

    def encode(self, chunk: NDArray[Any]) -> Any:
        if self.dtype == object:  # text lies outside the chunks
            return chunk
        # The lowest bytes of all values come first, then the second, and so on.
        planes = chunk.reshape(-1, 1).view(np.uint8).T
        return isal_zlib.compress(np.ascontiguousarray(planes), 1)

    def put(self, start: int, n_rows: int, encoded: Any) -> None:
        dataset = self._dataset.id
        self.n_rows = start + n_rows
        dataset.set_extent((self.n_rows, *self.chunk[1:]))
        if self.dtype == object:
            self._dataset[start : start + n_rows] = encoded[:n_rows]
        else:
            dataset.write_direct_chunk((start, *(0 for _ in self.chunk[1:])), encoded)


def _set(item: Any, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        if isinstance(value, str):
            # By the low-level interface, in less than half the time: there are a hundred.
            attribute = h5py.h5a.create(item.id, name.encode(), _TEXT_IN_FILE, _SCALAR)
            attribute.write(np.array(value, dtype=_TEXT))
        elif isinstance(value, np.ndarray) and value.dtype == object:
            item.attrs[name] = value.astype(_TEXT)
        else:
            item.attrs[name] = value
