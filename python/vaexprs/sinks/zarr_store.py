"""The ``.zarr`` sink: AnnData's layout in a zarr v3 store, by zarr alone.

The zarr package writes the metadata. The chunks of numbers are files that we write ourselves, so
that they are compressed on our threads and appear in order; any reader of zarr v3 decodes them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import require
from vaexprs.generation.generator import Block
from vaexprs.sinks.base import Run
from vaexprs.sinks.journal import Journal, State, other_bytes, refused_if_damaged
from vaexprs.sinks.layout import AnnDataWriter

__all__ = ["ZarrSink"]


class ZarrSink:
    """Writes a zarr store; goes on with one where the journal has a state.

    Chunks that were written after that state are written again, the same.

    Raises
    ------
    MissingExtraError
        If zarr is not installed.
    """

    resumes = True

    def __init__(self, path: Path, journal: Journal | None = None) -> None:
        require("zarr", extra="anndata", purpose="Writing a zarr store")
        self._path, self._journal = path, journal
        self._writer: AnnDataWriter | None = None

    def open(self, run: Run) -> None:
        """Make the store and write all that is known before the cells."""
        state = None if self._journal is None else self._journal.state
        with refused_if_damaged(self._path, state):
            self._store = ZarrStore(self._path, new=state is None)
            self._writer = AnnDataWriter(self._store, run, state)
            if state is not None:
                self._store.start_at(state["n_bytes"])

    def write(self, block: Block) -> None:
        """Take the next block."""
        assert self._writer is not None
        self._writer.write(block)
        if self._journal is not None and self._journal.due(block.n_cells):
            self._writer.checkpoint(self._save)

    def commit(self) -> None:
        """Write what is held, and the final shapes."""
        assert self._writer is not None
        if self._journal is not None:
            self._journal.wait()
        self._writer.finish()
        self._store.close()

    def abort(self) -> None:
        """End the threads."""
        if self._writer is not None:
            self._writer.stop()

    def _save(self, state: State) -> None:
        assert self._journal is not None
        state = {**state, "n_bytes": self._store.n_bytes()}
        self._journal.save(lambda: state, self._store.written)


class ZarrStore:
    """Groups and arrays in a folder, new or to go on with."""

    #: 4 MiB of float32.
    chunk = 1 << 20

    def __init__(self, path: Path, *, new: bool = True) -> None:
        import zarr

        self._path, self._is_new = path, new
        if not new:
            for left in path.rglob("*.partial"):  # zarr's own, where a write was cut off
                left.unlink()
        self._root = zarr.open_group(
            str(path), mode="w" if new else "r+", zarr_format=3, use_consolidated=False
        )
        self._arrays: list[_Array] = []
        self._all_synced = False

    def written(self) -> list[Path]:
        """Return what was written since the last call."""
        places = [place for array in self._arrays for place in array.take_written()]
        first, self._all_synced = not self._all_synced, True
        return [self._path] if first else [*places, *{place.parent for place in places}]

    def n_bytes(self) -> NDArray[np.int64]:
        """Return the bytes in the chunks of each array that grows, ``(n_arrays,)``."""
        return np.array([array.n_bytes for array in self._arrays], np.int64)

    def start_at(self, n_bytes: NDArray[np.int64]) -> None:
        """Resume; refuse arrays whose stored chunks do not have `n_bytes`, ``(n_arrays,)``."""
        for array, expected in zip(self._arrays, n_bytes.tolist(), strict=True):
            array.start_at(expected)

    def group(self, path: str, attributes: Mapping[str, Any]) -> None:
        if not self._is_new:
            return
        group = self._root.create_group(path) if path else self._root
        group.attrs.update({name: _json(value) for name, value in attributes.items()})

    def save(self, path: str, value: Any, attributes: Mapping[str, Any]) -> None:
        if not self._is_new:
            return
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

        if self._is_new:
            packed = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle")
            array = self._root.create_array(
                path,
                shape=(0, *chunk[1:]),
                chunks=chunk,
                dtype=str if dtype is object else dtype,
                attributes=dict(attributes),
                **({} if dtype is object else {"compressors": packed}),
            )
        else:
            array = self._root[path]
        made = _Array(array, self._path / path, np.dtype(dtype))
        self._arrays.append(made)
        return made

    def close(self) -> None:
        """Give all arrays their lengths, and gather the metadata as anndata does."""
        import zarr

        for array in self._arrays:
            array.close()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
            zarr.consolidate_metadata(str(self._path))


class _Array:
    """An array whose chunks are files ``c/0``, ``c/1``, and so on."""

    def __init__(self, array: Any, folder: Path, dtype: np.dtype[Any]) -> None:
        self._array, self._folder, self.dtype = array, folder, dtype
        self.chunk = array.chunks
        self.n_rows = self.n_bytes = 0  # stored
        self._written: list[Path] = []

    def start_at(self, n_bytes: int) -> None:
        """Resume after the stored rows; refuse if their chunks do not have `n_bytes` in all."""
        places = [self._place(start) for start in range(0, self.n_rows, self.chunk[0])]
        self.n_bytes = sum(place.stat().st_size for place in places if place.exists())
        if self.n_bytes != n_bytes:
            raise other_bytes(self._folder, self.n_bytes, n_bytes)

    def take_written(self) -> list[Path]:
        """Return what was written since the last call."""
        written, self._written = self._written, []
        return written

    def encode(self, chunk: NDArray[Any]) -> Any:
        if self.dtype == object:
            return chunk
        from numcodecs import blosc

        return blosc.compress(chunk, b"lz4", 5, blosc.SHUFFLE)

    def put(self, start: int, n_rows: int, encoded: Any) -> None:
        self.n_rows, place = start + n_rows, self._place(start)
        if self.dtype == object:
            self.close()
            self._array[start:] = encoded[:n_rows]
            self._written.append(self._folder)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(encoded)
            self._written.append(place)
        self.n_bytes += place.stat().st_size

    def _place(self, start: int) -> Path:
        """Return the file of the chunk that begins with a row."""
        return self._folder.joinpath(
            "c", str(start // self.chunk[0]), *("0",) * (len(self.chunk) - 1)
        )

    def close(self) -> None:
        """Give the array its length."""
        self._array.resize((self.n_rows, *self.chunk[1:]))


def _json(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
