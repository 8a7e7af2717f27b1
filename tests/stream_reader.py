"""Section 9 of models/FORMAT.md in plain NumPy: what a reader in any language would write.

Nothing of vaexprs is used. Numbers are computed one at a time, as the text says them; float32 is
NumPy's, which rounds after each operation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

F = np.float32
MASK = 2**32 - 1
LATENT, COMPONENT, LIBRARY, OBSERVATION, REFINEMENT, CONDITION = 1, 2, 3, 4, 5, 8
PLAIN = 0x76616578
GOLDEN_RATIO = 0x9E3779B97F4A7C15
ROTATIONS = ((10, 26), (11, 21), (13, 27), (23, 5), (6, 20), (17, 11), (25, 10), (18, 20))


def threefry(counter: Sequence[int], key: Sequence[int]) -> list[int]:
    """Threefry4x32-20."""
    keys = [*key, 0x1BD11BDA ^ key[0] ^ key[1] ^ key[2] ^ key[3]]
    x = [(c + k) & MASK for c, k in zip(counter, keys, strict=False)]

    def turned(word: int, bits: int) -> int:
        return (word << bits | word >> 32 - bits) & MASK

    for number in range(20):
        for (a, b), bits in zip(((0, 1), (2, 3)), ROTATIONS[number % 8], strict=True):
            b = b if number % 2 == 0 else 4 - b
            x[a] = (x[a] + x[b]) & MASK
            x[b] = turned(x[b], bits) ^ x[a]
        if number % 4 == 3:
            step = number // 4 + 1
            x = [(word + keys[(i + step) % 5]) & MASK for i, word in enumerate(x)]
            x[3] = (x[3] + step) & MASK
    return x


class Cell:
    """A cell's random words."""

    def __init__(self, seed: int, index: int, stream: int = PLAIN) -> None:
        self.seed, self.index, self.stream = seed, index, stream

    def words(self, purpose: int, index: int, attempt: int = 0) -> list[int]:
        key = (self.seed & MASK, self.seed >> 32, purpose, self.stream)
        return threefry((self.index & MASK, self.index >> 32, index, attempt), key)

    def tiled_word(self, purpose: int, index: int) -> int:
        tile, place = divmod(index, 64)
        return self.words(purpose, 16 * tile + place % 16)[place // 16]

    def tiled_byte(self, purpose: int, index: int) -> int:
        return self.tiled_word(purpose, index // 4) >> 8 * (index % 4) & 0xFF

    def normal(self, purpose: int, index: int) -> np.float32:
        tile, place = divmod(index, 64)
        words = self.words(purpose, 16 * tile + place % 16)
        pair = words[:2] if place < 32 else words[2:]
        return box_muller(*pair)[place // 16 % 2]

    def observation_uniform(self, gene: int) -> float:
        byte, words = self.tiled_byte(OBSERVATION, gene), self.words(REFINEMENT, gene)
        return byte * 2.0**-8 + words[0] * 2.0**-40 + (words[1] + 0.5) * 2.0**-72


def stream_of(names: Sequence[str]) -> int:
    """FNV-1a."""
    value = 0x811C9DC5
    for byte in b"".join(name.encode() + b"\0" for name in names):
        value = (value ^ byte) * 0x01000193 & MASK
    return value if names else PLAIN


def uniform(high: int, low: int) -> float:
    return ((high << 32 | low) >> 12) * 2.0**-52 + 2.0**-53


def hexadecimal(text: str) -> np.float32:
    return F(float.fromhex(text))


def bits_of(x: np.float32) -> int:
    return int(F(x).view(np.int32))


def float_of(bits: int) -> np.float32:
    return F(np.uint32(bits & MASK).view(np.float32))


def log(x: np.float32, power: int = 0) -> np.float32:
    h = hexadecimal
    a = bits_of(x) - 0x3F3504F3
    e, f = F((a >> 23) + power), float_of((a & 0x7FFFFF) + 0x3F3504F3) - F(1)
    s = f * f
    low = (f * h("0x1.5556d8p-2") + F(-0.5)) + (f * h("0x1.98d83p-3") + h("-0x1.000384p-2")) * s
    high = f * h("0x1.3173d8p-3") + h("-0x1.538136p-3")
    high = high + (f * h("0x1.641ca8p-4") + h("-0x1.244064p-3")) * s
    tail = low + high * (s * s)
    return (tail * s + f) + e * h("0x1.62e43p-1")


def exp(x: np.float32) -> np.float32:
    h = hexadecimal
    shifted = x * h("0x1.715476p+0") + h("0x1.8p23")
    n = shifted - h("0x1.8p23")
    r = (x - n * h("0x1.62ep-1")) - n * h("0x1.0bfbe8p-15")
    s = r * r
    high = s * h("0x1.6ff122p-10") + (r * h("0x1.1257d4p-7") + h("0x1.5552fep-5"))
    tail = high * s + (r * h("0x1.555466p-3") + F(0.5))
    p = tail * s + (r + F(1))
    return float_of(bits_of(p) + (bits_of(shifted) << 23))


def circle_point(bits: int) -> tuple[np.float32, np.float32]:
    h = hexadecimal
    t = F(np.uint32(bits << 2 & MASK).view(np.int32)) * h("0x1p-32")
    s = t * t
    sine = s * h("-0x1.33198ep-8") + h("0x1.4680a4p-4")
    sine = (sine * s + h("-0x1.4abc24p-1")) * s + h("0x1.921fb6p+0")
    sine = sine * t
    cosine = s * h("0x1.d47d48p-11") + h("-0x1.55b146p-6")
    cosine = (cosine * s + h("0x1.03c1aep-2")) * s + h("-0x1.3bd3ccp+0")
    cosine = cosine * s + F(1)
    if bits & 0x40000000:
        cosine = -cosine
    return (sine, cosine) if bits & 0x80000000 else (cosine, sine)


def box_muller(radius_bits: int, circle_bits: int) -> tuple[np.float32, np.float32]:
    u = F(radius_bits >> 1) + F(0.5)
    radius = np.sqrt(log(u, -31) * F(-2))
    x, y = circle_point(circle_bits)
    return radius * x, radius * y


def group_of(seed: int, cell: int, n_cells: Sequence[int]) -> int:
    """Return the group of a cell of an endless plan."""
    if len(n_cells) == 1:
        return 0
    first = Cell(seed, 0).words(CONDITION, 0)
    offset = int(uniform(first[0], first[1]) * 2.0**53) << 11
    window, place = divmod(cell, 256)
    order = list(range(256))
    for i in range(255, 0, -1):
        word = Cell(seed, window).words(CONDITION, 1 + i // 4)[i % 4]
        k = word * (i + 1) >> 32
        order[i], order[k] = order[k], order[i]
    at = ((256 * window + order[place]) * GOLDEN_RATIO + offset) % 2**64
    total, running = sum(n_cells), 0
    for group, n in enumerate(n_cells):
        running += n
        if at < min((running << 64) // total, 2**64 - 1):
            return group
    return len(n_cells) - 1


def component_of(cell: Cell, weights: Sequence[float]) -> int:
    cumulative = np.cumsum(np.asarray(weights, np.float64))
    if len(weights) == 1:
        return 0
    words = cell.words(COMPONENT, 0)
    target = uniform(words[0], words[1]) * cumulative[-1]
    return int(np.argmax(cumulative > target))


def mixture(cell: Cell, mean: Any, tril: Any) -> list[np.float32]:
    """``mean + tril @ e``, summed in float64 in order."""
    noise = [float(cell.normal(LATENT, k)) for k in range(len(mean))]
    drawn = []
    for j, row in enumerate(tril):
        total = float(mean[j])
        for k in range(j + 1):
            total += float(row[k]) * noise[k]
        drawn.append(F(total))
    return drawn


def library_of(log_size: np.float32, minimum: Any, maximum: Any) -> np.float32:
    size = exp(np.clip(log_size, F(-87), F(88)))
    return F(min(max(size, F(minimum)), F(maximum)))


def product(x: Any, weight: Any) -> list[np.float32]:
    """Multiply a row and a matrix: each product rounded, summed in order."""
    sums = [F(0)] * weight.shape[1]
    for k, factor in enumerate(x):
        sums = [total + F(factor) * w for total, w in zip(sums, weight[k], strict=True)]
    return sums


def share(x: np.float32) -> np.float32:
    h = hexadecimal
    t = F(min(max(x, F(-87)), F(61))) * h("0x1.715476p+0")
    shifted = t + h("0x1.8p23")
    f = t - (shifted - h("0x1.8p23"))
    s = f * f
    low = (f * h("0x1.c6a2d2p-5") + h("0x1.ebf80ap-3")) * s
    high = (f * h("0x1.656324p-10") + h("0x1.3d5ac8p-7")) * (s * s)
    p = (f * h("0x1.62e438p-1") + h("0x1.000002p+0")) + (low + high)
    return float_of(bits_of(p) + (bits_of(shifted) << 23))


def counts_means(logits: Sequence[np.float32], library: np.float32) -> list[np.float32]:
    """Shares of the library size, where the sum of exponentials is neither tiny nor huge."""
    shares, sums = [share(x) for x in logits], [F(0)] * 32
    for i, value in enumerate(shares):
        sums[i % 32] = sums[i % 32] + value
    half = 16
    while half:
        sums = [sums[i] + sums[i + half] for i in range(half)]
        half //= 2
    assert 2.0**-29 <= sums[0] <= 2.0**86
    factor = library / sums[0]
    return [value * factor for value in shares]


def count_of(v: float, mean: float, theta: float | None, weight: float = 1.0) -> int:
    """Invert a law of counts of a mean of at most 32: Poisson without theta."""
    if theta is None:
        p, above, first, slope = math.exp(-mean), -math.expm1(-mean), mean, 0.0
    else:
        log_zero = -theta * math.log1p(mean / theta)
        slope = mean / (mean + theta)
        p, above, first = math.exp(log_zero), -math.expm1(log_zero), theta * slope
    p, tail, k = weight * p, weight * above, 0
    while v < tail:
        k += 1
        p *= (first + slope * (k - 1)) / k
        # P(X > k) from its largest terms down.
        tail, term, i = 0.0, p, k
        while True:
            i += 1
            term *= (first + slope * (i - 1)) / i
            tail += term
            if term <= 2.0**-56 * tail:
                break
    return k
