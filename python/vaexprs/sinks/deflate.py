"""Shuffled bytes as one zlib stream, each plane of bytes in the way that suits it.

A chunk of a sparse matrix is shuffled, so that the lowest bytes of all values come first, then the
second, and so on. Each plane is then of one kind. Values of counts are a few bytes in no order,
high bytes of column indices are long runs: codes for bytes and runs are all they need, and our own
coder does that. Low bytes of indices are as good as random, and are stored. Where rows are dense,
strings of bytes come again, which takes a real deflate to find. What suits a plane is tried now and
then on a piece of it. The planes, one behind the other, make one stream that any zlib reads.

Formats: RFC 1950 (zlib), RFC 1951 (deflate).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs import _core

__all__ = ["PlaneDeflater"]

_HEADER = b"\x78\x01"  # deflate with a window of 32 kB, fastest
_END = b"\x03\x00"  # a last block, of nothing
_LARGEST_STORED = 0xFFFF
#: A way must come out this much shorter than a quicker one to be worth its time.
_WORTH_IT = 0.97
#: Where a quicker way leaves so little of a piece, no other is tried.
_LITTLE = 1 / 64
#: Ways are tried in one chunk of so many,
_TRY_AGAIN = 16
#: on a piece of this many bytes: two windows of deflate.
_PIECE = 1 << 16

_Pack = Callable[[NDArray[np.uint8]], bytes]


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
        self._ways: list[_Pack] = [_core.deflate_plane] * n_planes
        self._n_chunks = 0

    def deflate(self, planes: NDArray[np.uint8]) -> bytes:
        """Return the zlib stream of a chunk's planes, one behind the other."""
        if self._n_chunks % _TRY_AGAIN == 0:
            self._ways = [self._find_way(plane[:_PIECE]) for plane in planes]
        self._n_chunks += 1
        parts = [pack(plane) for pack, plane in zip(self._ways, planes, strict=True)]
        checksum = self._zlib.adler32(planes.data) & 0xFFFFFFFF
        return b"".join([_HEADER, *parts, _END, checksum.to_bytes(4, "big")])

    def _find_way(self, piece: NDArray[np.uint8]) -> _Pack:
        best, size = _stored, len(piece)
        for pack in (_core.deflate_plane, self._searched):
            packed = len(pack(piece))
            if packed < _WORTH_IT * size:
                best, size = pack, packed
            if size < _LITTLE * len(piece):
                break
        return best

    def _searched(self, plane: NDArray[np.uint8]) -> bytes:
        compressor = self._zlib.compressobj(1, wbits=-15)
        # A sync flush ends on a whole byte, so that the next piece can follow.
        packed: bytes = compressor.compress(plane) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return packed


def _stored(plane: NDArray[np.uint8]) -> bytes:
    parts: list[bytes | memoryview] = []
    for start in range(0, len(plane), _LARGEST_STORED):
        piece = plane[start : start + _LARGEST_STORED].data
        length = len(piece).to_bytes(2, "little")
        parts += [b"\x00", length, bytes(byte ^ 0xFF for byte in length), piece]
    return b"".join(parts)
