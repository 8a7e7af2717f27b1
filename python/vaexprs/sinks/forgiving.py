"""A file to hand to HDF5, on which no write ever seems to fail.

HDF5 does not get over a write of its own bookkeeping that fails: the file cannot be closed, and the
process crashes when objects in it are let go. (Seen with HDF5 2.0 on a full disk.) So what cannot
be written is dropped here and remembered, for whoever fills the file to raise.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

__all__ = ["ForgivingFile"]


class ForgivingFile(io.RawIOBase):
    """A new file; `error` says why a write failed, the first time one did, or is None."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = io.FileIO(path, "x+")
        self.error: OSError | None = None

    def raise_error(self) -> None:
        """Raise what went wrong, if anything did."""
        if self.error is not None:
            raise self.error

    def write(self, data: Any) -> int:
        """Write all of `data`, or remember why not."""
        left = memoryview(data)
        try:
            while left and self.error is None:
                left = left[self._file.write(left) :]
        except OSError as error:
            self.error = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Cut the file off or make it longer, or remember why not."""
        try:
            return self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def readinto(self, into: Any) -> int:
        """Fill `into`; what was dropped, or lies behind the end, reads as zeros."""
        read = self._file.readinto(into)
        memoryview(into)[read:] = bytes(len(into) - read)
        return len(into)

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
