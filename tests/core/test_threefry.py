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


def oracle_word(seed: int, purpose: int, cell: int, index: int) -> int:
    """Word ``index`` of the row of tiled words of a cell, from the contract in words."""
    tile, within = divmod(index, 64)
    position, block = divmod(within, 16)
    low = 0xFFFFFFFF
    key = np.array([seed & low, seed >> 32, purpose, 0x76616578], dtype=np.uint32)
    counter = np.array([[cell & low, cell >> 32, 16 * tile + block, 0]], dtype=np.uint32)
    return int(_core.threefry4x32(counter, key)[0, position])


PURPOSES = {
    "latent": 1,
    "component": 2,
    "library": 3,
    "observation": 4,
    "refinement": 5,
    "condition": 8,
}


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("instruction_set", _core.instruction_sets())
def test_addresses(purpose: str, instruction_set: str) -> None:
    """Every uniform is where the contract puts it, whatever the width of the vectors."""
    seed, first_cell = 0x0123456789ABCDEF, 0xFEDCBA98765
    out = np.empty((3, 150), dtype=np.float32)
    _core.fill_uniform(
        out, seed=seed, first_cell=first_cell, purpose=purpose, instruction_set=instruction_set
    )
    for row, column in [(0, 0), (0, 15), (0, 16), (1, 63), (1, 64), (2, 127), (2, 128), (2, 149)]:
        word = oracle_word(seed, PURPOSES[purpose], first_cell + row, column)
        assert out[row, column] == np.float32(((word >> 9) + 0.5) * 2.0**-23)


def test_streams_differ() -> None:
    rows = []
    for purpose in PURPOSES:
        out = np.empty((1, 64), dtype=np.float32)
        _core.fill_uniform(out, seed=1, purpose=purpose)
        rows.append(out[0])
    assert len(np.unique(np.concatenate(rows))) > 0.99 * 64 * len(PURPOSES)


@pytest.mark.parametrize(("dtype", "bits"), [(np.float32, 24), (np.float64, 53)])
def test_support_of_uniforms(dtype: type[np.floating], bits: int) -> None:
    """Odd multiples of 2^-bits, all in the open interval; 0 and 1 never occur."""
    out = np.empty((500, 1000), dtype=dtype)
    _core.fill_uniform(out, seed=5)
    assert out.min() > 0
    assert out.max() < 1
    multiples = out.astype(np.float64) * 2.0**bits
    assert (multiples % 2 == 1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniforms_are_uniform(dtype: type[np.floating]) -> None:
    """Kolmogorov-Smirnov; fails with a probability of 1e-6 if all is well (fixed seed)."""
    stats = pytest.importorskip("scipy.stats")
    out = np.empty((200, 1000), dtype=dtype)
    _core.fill_uniform(out, seed=6)
    assert stats.kstest(out.ravel(), "uniform").pvalue > 1e-6
    # Neighbours along genes and along cells are independent.
    for a, b in [(out[:, 1:], out[:, :-1]), (out[1:], out[:-1])]:
        correlation = np.corrcoef(a.ravel(), b.ravel())[0, 1]
        assert abs(correlation) < 5 * a.size**-0.5
