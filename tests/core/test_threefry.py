"""The random words themselves: published known answers, and how draws are addressed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vaexprs import _core

# Known answers of Threefry4x32 with 20 rounds, published with Random123 (Salmon et al. 2011):
# counter, key, words.
KNOWN_ANSWERS = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000 00000000 00000000",
        "9c6ca96a e17eae66 fc10ecd4 5256a7d8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff ffffffff ffffffff",
        "2a881696 57012287 f6c7446e a16a6732",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0 082efa98 ec4e6c89",
        "59cd1dbb b8879579 86b5d00c ac8b6d84",
    ),
]


def words(text: str) -> NDArray[np.uint32]:
    return np.array([int(word, 16) for word in text.split()], dtype=np.uint32)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(counter: str, key: str, answer: str) -> None:
    found = _core.threefry4x32(words(counter)[None], words(key))
    np.testing.assert_array_equal(found, words(answer)[None])


def test_keys_may_differ_by_row() -> None:
    counters = np.stack([words(counter) for counter, _, _ in KNOWN_ANSWERS])
    keys = np.stack([words(key) for _, key, _ in KNOWN_ANSWERS])
    answers = np.stack([words(answer) for _, _, answer in KNOWN_ANSWERS])
    np.testing.assert_array_equal(_core.threefry4x32(counters, keys), answers)


def oracle_words(seed: int, cell: int, block: int) -> list[int]:
    """Return the words of a block of the latent noise of a cell, from the contract in words."""
    low, latent, plain = 0xFFFFFFFF, 1, 0x76616578
    key = np.array([seed & low, seed >> 32, latent, plain], dtype=np.uint32)
    counter = np.array([[cell & low, cell >> 32, block, 0]], dtype=np.uint32)
    return _core.threefry4x32(counter, key)[0].tolist()


@pytest.mark.parametrize("instruction_set", _core.instruction_sets())
def test_addresses(instruction_set: str) -> None:
    """Every pair of normals has its radius where the contract puts it, on vectors of any width."""
    seed, first_cell = 0x0123456789ABCDEF, 0xFEDCBA98765
    out = np.empty((3, 192), dtype=np.float32)
    _core.fill_latent(out, seed=seed, first_cell=first_cell, instruction_set=instruction_set)
    for row, column in [(0, 0), (0, 15), (0, 32), (1, 47), (1, 64), (2, 79), (2, 128), (2, 160)]:
        tile, within = divmod(column, 64)
        position, block = divmod(within, 16)
        word = oracle_words(seed, first_cell + row, 16 * tile + block)[position]
        radius = np.sqrt(-2 * np.log(((word >> 1) + 0.5) * 2.0**-31))
        assert np.hypot(out[row, column], out[row, column + 16]) == pytest.approx(radius, rel=1e-5)


def test_words_are_uniform() -> None:
    """Kolmogorov-Smirnov; fails with a probability of 1e-6 if all is well (fixed seed)."""
    stats = pytest.importorskip("scipy.stats")
    counters = np.zeros((50_000, 4), np.uint32)
    counters[:, 0] = np.arange(len(counters))
    out = (_core.threefry4x32(counters, np.array([6, 0, 1, 0], np.uint32)) + 0.5) * 2.0**-32
    assert stats.kstest(out.ravel(), "uniform").pvalue > 1e-6
    # The words of a block, and those of neighbouring cells, are independent.
    for a, b in [(out[:, 1:], out[:, :-1]), (out[1:], out[:-1])]:
        correlation = np.corrcoef(a.ravel(), b.ravel())[0, 1]
        assert abs(correlation) < 5 * a.size**-0.5
