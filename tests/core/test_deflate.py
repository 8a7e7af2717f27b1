"""Planes of bytes come back from any inflate, and are about as short as their entropy lets them."""

from __future__ import annotations

import heapq
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vaexprs import _core

N = 1 << 18
#: The code, the marker at the end, and a code for what comes next that is no whole number of bits.
HEADER = 200


def inflated(packed: bytes) -> bytes:
    return zlib.decompress(packed + b"\x03\x00", wbits=-15)


def packed_size(plane: NDArray[Any]) -> int:
    plane = np.ascontiguousarray(plane, dtype=np.uint8)
    packed = _core.deflate_plane(plane)
    assert inflated(packed) == plane.tobytes()
    return len(packed)


def huffman_size(plane: NDArray[Any]) -> float:
    """Bytes of the best prefix code of single bytes: the sum of the nodes of Huffman's tree."""
    heap = [int(count) for count in np.bincount(plane) if count]
    heapq.heapify(heap)
    n_bits = 0
    while len(heap) > 1:
        node = heapq.heappop(heap) + heapq.heappop(heap)
        n_bits += node
        heapq.heappush(heap, node)
    return n_bits / 8


@pytest.mark.parametrize("n", [*range(20), 257, 258, 259, 260, 261, 262, 517, 518, 65535, 65536])
def test_all_that_goes_in_comes_out(n: int) -> None:
    rng = np.random.default_rng(n)
    packed_size(np.full(n, 7))
    packed_size(np.concatenate([np.full(n, 7), [1, 2, 3], np.full(n, 9)]))
    for n_symbols in (1, 2, 3, 16, 256):
        plane = rng.integers(0, n_symbols, n)
        packed_size(plane)
        packed_size(np.repeat(plane, rng.integers(1, 30, n)))
        packed_size(np.repeat(plane[:9], rng.integers(1, 1000, len(plane[:9]))))


def test_blocks_follow_one_another() -> None:
    rng = np.random.default_rng(0)
    planes = [rng.integers(0, k, 1000 + k).astype(np.uint8) for k in (2, 256, 1, 40)]
    packed = b"".join(map(_core.deflate_plane, planes))
    assert inflated(packed) == b"".join(plane.tobytes() for plane in planes)


@pytest.mark.parametrize("share", [0.7, 0.5, 0.2, 0.05])
def test_bytes_in_no_order_take_what_huffmans_code_takes(share: float) -> None:
    plane = np.minimum(np.random.default_rng(1).geometric(share, N) - 1, 255)
    assert packed_size(plane) < 1.005 * huffman_size(plane) + HEADER


def test_noise_is_stored() -> None:
    plane = np.random.default_rng(2).integers(0, 256, N)
    assert packed_size(plane) == N + 5 * 5


@pytest.mark.parametrize(("length", "most_bits"), [(5, 16), (12, 16), (30, 16), (1000, 54)])
def test_runs_take_little(length: int, most_bits: float) -> None:
    """Short ones too, where they are of many bytes, as those of the indices of few non-zeros."""
    rng = np.random.default_rng(3)
    lengths = rng.poisson(length, 2 * N // length)
    plane = np.repeat(np.arange(len(lengths)) % 80, lengths)[:N]
    n_runs = np.count_nonzero(np.diff(plane))
    assert packed_size(plane) < n_runs * most_bits / 8 + HEADER


def test_codes_too_long_are_made_shorter() -> None:
    """Frequencies of Fibonacci's numbers make the deepest of Huffman's trees."""
    numbers = [1, 1]
    while len(numbers) < 25:
        numbers.append(numbers[-1] + numbers[-2])
    plane = np.repeat(np.arange(25), numbers)
    np.random.default_rng(4).shuffle(plane)
    assert packed_size(plane) < 1.01 * huffman_size(plane) + HEADER


def test_words_taken_apart() -> None:
    words = np.random.default_rng(5).integers(0, 2**32, 1003, dtype=np.uint32)
    planes = np.full((4, 1010), 77, np.uint8)
    _core.split_into_planes(planes, 3, words)
    assert np.array_equal(planes[:, 3:1006], words.view(np.uint8).reshape(-1, 4).T)
    assert (planes[:, :3] == 77).all()
    assert (planes[:, 1006:] == 77).all()


def test_arguments_are_checked() -> None:
    planes, words = np.zeros((4, 10), np.uint8), np.zeros(4, np.uint32)
    for first in (-1, 7, 11):
        with pytest.raises(ValueError, match=f"first: expected room for 4 words .* got {first}"):
            _core.split_into_planes(planes, first, words)
    with pytest.raises(ValueError, match="words: expected"):
        _core.split_into_planes(planes, 0, words.view(np.int32))
    with pytest.raises(ValueError, match="out: expected"):
        _core.split_into_planes(planes[:3], 0, words)
    with pytest.raises(ValueError, match="plane: expected"):
        _core.deflate_plane(planes)
    with pytest.raises(ValueError, match="plane: expected"):
        _core.deflate_plane(planes[0, ::2])
