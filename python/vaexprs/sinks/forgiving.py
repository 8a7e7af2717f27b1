"""A file to hand to HDF5 that outlives a crash, and on which no write ever seems to fail.

HDF5 changes its own bookkeeping in place, so that a file is torn when its process is killed. Here
a snapshot stays as it was: what is written behind its end goes to the disk, and what changes
within it is held in memory, until the changes are on the disk elsewhere as part of a later
snapshot (a write-ahead log). To go on, what lies behind the end is cut off.

Nor does HDF5 get over a write of its bookkeeping that fails: the file cannot be closed, and the
process crashes when objects in it are let go. (Seen with HDF5 2.0 on a full disk.) So what cannot
be written is dropped and remembered, for whoever fills the file to raise.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vaexprs.sinks.journal import other_bytes

#: Bytes by where they begin and how many they are; later ones win.
_Changes: TypeAlias = dict[tuple[int, int], bytes]


class ForgivingFile(io.RawIOBase):
    """A file, new or as it was at a snapshot.

    Parameters
    ----------
    path
        Of the file.
    snapshot
        What `snapshot` returned, to go on from; None for a new file.

    Attributes
    ----------
    error
        Why a write failed, the first time one did, or None.

    Raises
    ------
    OutputError
        If the file is shorter than it was at the snapshot.
    """

    def __init__(self, path: Path, snapshot: Mapping[str, NDArray[Any]] | None = None) -> None:
        super().__init__()
        self._path = path
        self._end = 0  # of the last snapshot
        self._changes: _Changes = {}  # since then
        self._stored: _Changes = {}  # up to then, not in the file
        self.error: OSError | None = None
        if snapshot is not None:
            self._end = int(snapshot["file_end"])
            self._stored = _changes_of(snapshot)
        self._file = io.FileIO(path, "x+" if snapshot is None else "r+")
        if snapshot is not None:
            if (size := path.stat().st_size) < self._end:
                raise other_bytes(path, size, self._end)
            self._file.truncate(self._end)

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Return all changes that are not in the file, and make this the last snapshot."""
        for key, new in self._changes.items():
            self._stored.pop(key, None)
            self._stored[key] = new
        self._changes = {}
        self._end = self._path.stat().st_size
        return {
            "file_end": np.array(self._end),
            "file_places": np.array(list(self._stored), np.int64).reshape(-1, 2),
            "file_bytes": np.frombuffer(b"".join(self._stored.values()), np.uint8),
        }

    def apply(self, snapshot: Mapping[str, NDArray[Any]]) -> None:
        """Change the file as a snapshot says, which is on the disk elsewhere by now."""
        changes = _changes_of(snapshot)
        with open(self._path, "r+b", buffering=0) as file:
            for (place, _), new in changes.items():
                file.seek(place)
                file.write(new)
        if list(changes.items()) == list(self._stored.items()):  # no later snapshot was made
            self._stored = {}

    @property
    def has_snapshot(self) -> bool:
        """Whether a snapshot was made, so that the file is not all there is."""
        return self._end > 0

    def raise_error(self) -> None:
        """Raise what went wrong, if anything did."""
        if self.error is not None:
            raise self.error

    def write(self, data: Any) -> int:
        """Write all of `data`, or remember why not."""
        left, at = memoryview(data).cast("B"), self._file.tell()
        if at < self._end:
            kept = bytes(left[: self._end - at])
            self._changes.pop((at, len(kept)), None)
            self._changes[at, len(kept)] = kept
            left = left[len(kept) :]
            self._file.seek(at + len(kept))
        try:
            while left and self.error is None:
                left = left[self._file.write(left) :]
        except OSError as error:
            self.error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Cut the file off or make it longer, or remember why not; a snapshot is never cut."""
        size = self.tell() if size is None else size
        try:
            self._file.truncate(max(size, self._end))
        except OSError as error:
            self.error = self.error or error
        return size

    def readinto(self, into: Any) -> int:
        """Fill `into`; what was dropped, or lies behind the end, reads as zeros."""
        at, view = self._file.tell(), memoryview(into).cast("B")
        read = self._file.readinto(view) or 0
        view[read:] = bytes(len(view) - read)
        for changes in (self._stored, self._changes):
            for (place, length), new in changes.items():
                first, last = max(place, at), min(place + length, at + len(view))
                if first < last:
                    view[first - at : last - at] = new[first - place : last - place]
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place and return it."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _changes_of(snapshot: Mapping[str, NDArray[Any]]) -> _Changes:
    changes: _Changes = {}
    at, new = 0, snapshot["file_bytes"].tobytes()
    for place, length in snapshot["file_places"].tolist():
        changes[place, length] = new[at : at + length]
        at += length
    return changes
