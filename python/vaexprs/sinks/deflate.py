"""Shuffled bytes as one zlib stream: what deflate cannot shrink is stored as it is.

A chunk of a sparse matrix is shuffled, so that the lowest bytes of all values come first, then the
second, and so on. The lowest bytes of column indices are as good as random: looking for a shorter
code of them takes most of the time of a chunk of indices and gains half a percent. Each plane of
bytes is deflated or stored for itself, and the pieces make one stream that any zlib reads.

Formats: RFC 1950 (zlib), RFC 1951 (deflate).
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PlaneDeflater"]

_HEADER = b"\x78\x01"  # deflate with a window of 32 kB, fastest
_END = b"\x03\x00"  # a last block, of nothing
_LARGEST_STORED = 0xFFFF
#: A plane that shrinks to no less than this is stored in the chunks that follow,
_WORTH_IT = 0.97
#: and tried again after so many.
_TRY_AGAIN = 16


def _choose_zlib() -> Any:
    """Return isal's zlib where it is installed, five times as fast, or Python's own."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib
    return isal_zlib


class PlaneDeflater:
    """Deflates chunks of ``(n_planes, n_values)`` bytes, one after the other."""

    def __init__(self, n_planes: int) -> None:
        self._zlib = _choose_zlib()
        self._is_stored = [False] * n_planes
        self._n_chunks = 0

    def deflate(self, planes: NDArray[np.uint8]) -> bytes:
        """Return the zlib stream of a chunk's planes, one behind the other."""
        parts = [_HEADER]
        for i, plane in enumerate(planes):
            if self._is_stored[i] and self._n_chunks % _TRY_AGAIN:
                parts.append(_stored(plane))
                continue
            compressor = self._zlib.compressobj(1, wbits=-15)
            # A sync flush ends on a whole byte, so that the next piece can follow.
            packed = compressor.compress(plane) + compressor.flush(zlib.Z_SYNC_FLUSH)
            self._is_stored[i] = len(packed) >= _WORTH_IT * len(plane)
            parts.append(packed)
        self._n_chunks += 1
        checksum = self._zlib.adler32(planes.data) & 0xFFFFFFFF
        return b"".join([*parts, _END, checksum.to_bytes(4, "big")])


def _stored(plane: NDArray[np.uint8]) -> bytes:
    parts = []
    for start in range(0, len(plane), _LARGEST_STORED):
        piece = plane[start : start + _LARGEST_STORED].tobytes()
        length = len(piece).to_bytes(2, "little")
        parts += [b"\x00", length, bytes(byte ^ 0xFF for byte in length), piece]
    return b"".join(parts)
