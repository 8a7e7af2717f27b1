"""The ``.zarr`` sink: AnnData's layout in a zarr v3 store, by zarr alone.

The zarr package writes the metadata. The chunks of numbers are files that we write ourselves, so
that they are compressed on our threads and appear in order; any reader of zarr v3 decodes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import require
from vaexprs.generation.generator import Block
from vaexprs.sinks.base import Run
from vaexprs.sinks.layout import AnnDataWriter

__all__ = ["ZarrSink"]


class ZarrSink:
    """Writes a zarr store.

    Raises
    ------
    MissingExtraError
        If zarr is not installed.
    """

    def __init__(self, path: Path) -> None:
        require("zarr", extra="anndata", purpose="Writing a zarr store")
        self._path = path
        self._writer: AnnDataWriter | None = None

    def open(self, run: Run) -> None:
        """Make the store and write all that is known before the cells."""
        self._store = _Zarr(self._path)
        self._writer = AnnDataWriter(self._store, run)

    def write(self, block: Block) -> None:
        """Take the next block."""
        assert self._writer is not None
        self._writer.write(block)

    def commit(self) -> None:
        """Write what is held, and the final shapes."""
        assert self._writer is not None
        self._writer.finish()
        self._store.close()

    def abort(self) -> None:
        """End the threads."""
        if self._writer is not None:
            self._writer.stop()


class _Zarr:
    """Groups and arrays in a folder."""

    #: 4 MiB of float32.
    chunk = 1 << 20

    def __init__(self, path: Path) -> None:
        import zarr

        self._path = path
        self._root = zarr.open_group(str(path), mode="w", zarr_format=3)
        self._arrays: list[_Array] = []

    def group(self, path: str, attributes: Mapping[str, Any]) -> None:
        group = self._root.create_group(path) if path else self._root
        group.attrs.update({name: _json(value) for name, value in attributes.items()})

    def save(self, path: str, value: Any, attributes: Mapping[str, Any]) -> None:
        value = np.asarray(value, dtype=object if isinstance(value, str) else None)
        array = self._root.create_array(
            path,
            shape=value.shape,
            chunks=tuple(max(length, 1) for length in value.shape),
            dtype=str if value.dtype == object else value.dtype,
            attributes=dict(attributes),
        )
        array[...] = value

    def grow(
        self, path: str, chunk: tuple[int, ...], dtype: Any, attributes: Mapping[str, Any]
    ) -> _Array:
        from zarr.codecs import BloscCodec

        packed = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")
        array = self._root.create_array(
            path,
            shape=(0, *chunk[1:]),
            chunks=chunk,
            dtype=str if dtype is object else dtype,
            attributes=dict(attributes),
            **({} if dtype is object else {"compressors": packed}),
        )
        made = _Array(array, self._path / path, np.dtype(dtype))
        self._arrays.append(made)
        return made

    def close(self) -> None:
        for array in self._arrays:
            array.close()


class _Array:
    """An array whose chunks are files ``c/0``, ``c/1``, and so on."""

    def __init__(self, array: Any, folder: Path, dtype: np.dtype[Any]) -> None:
        self._array, self._folder, self.dtype = array, folder, dtype
        self.chunk = array.chunks
        self._n_rows = 0

    def encode(self, chunk: NDArray[Any]) -> Any:
        if self.dtype == object:
            return chunk
        from numcodecs import blosc

        return blosc.compress(chunk, b"lz4", 5, blosc.SHUFFLE)

    def put(self, start: int, n_rows: int, encoded: Any) -> None:
        self._n_rows = start + n_rows
        if self.dtype == object:
            self.close()
            self._array[start:] = encoded[:n_rows]
            return
        place = self._folder.joinpath(
            "c", str(start // self.chunk[0]), *("0",) * (len(self.chunk) - 1)
        )
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded)

    def close(self) -> None:
        """Give the array its length."""
        self._array.resize((self._n_rows, *self.chunk[1:]))


def _json(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
