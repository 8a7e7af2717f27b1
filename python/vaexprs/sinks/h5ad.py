"""The ``.h5ad`` sink: AnnData's layout in HDF5, by h5py alone.

Numbers leave as whole HDF5 chunks, shuffled and deflated on threads of our own and stored by
``write_direct_chunk``. HDF5's own filters would store the same, on one thread with zlib; any
reader decodes it.
"""

from __future__ import annotations

import contextlib
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
    """Writes an ``.h5ad``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open = contextlib.ExitStack()
        self._writer: AnnDataWriter | None = None

    def open(self, run: Run) -> None:
        """Make the file and write all that is known before the cells."""
        self._output = self._open.enter_context(contextlib.closing(ForgivingFile(self._path)))
        file = self._open.enter_context(h5py.File(self._output, "w"))
        self._writer = AnnDataWriter(_Hdf5(file), run)

    def write(self, block: Block) -> None:
        """Take the next block."""
        assert self._writer is not None
        self._output.raise_error()
        self._writer.write(block)

    def commit(self) -> None:
        """Write what is held and close the file."""
        assert self._writer is not None
        self._writer.finish()
        self._open.close()
        self._output.raise_error()

    def abort(self) -> None:
        """Close the file; what is in it does not count."""
        if self._writer is not None:
            self._writer.stop()
        self._open.close()


class _Hdf5:
    """Groups and arrays in an HDF5 file."""

    #: 1 MiB of float32, which compresses and streams well.
    chunk = 1 << 18

    def __init__(self, file: h5py.File) -> None:
        self._file = file

    def group(self, path: str, attributes: Mapping[str, Any]) -> None:
        _set(self._file.create_group(path) if path else self._file, attributes)

    def save(self, path: str, value: Any, attributes: Mapping[str, Any]) -> None:
        text = isinstance(value, str) or value.dtype == object
        _set(self._file.create_dataset(path, data=value, dtype=_TEXT if text else None), attributes)

    def grow(
        self, path: str, chunk: tuple[int, ...], dtype: Any, attributes: Mapping[str, Any]
    ) -> _Array:
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

    def encode(self, chunk: NDArray[Any]) -> Any:
        if self.dtype == object:  # text lies outside the chunks
            return chunk
        # The lowest bytes of all values come first, then the second, and so on.
        planes = chunk.reshape(-1, 1).view(np.uint8).T
        return isal_zlib.compress(np.ascontiguousarray(planes), 1)

    def put(self, start: int, n_rows: int, encoded: Any) -> None:
        dataset = self._dataset.id
        dataset.set_extent((start + n_rows, *self.chunk[1:]))
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
