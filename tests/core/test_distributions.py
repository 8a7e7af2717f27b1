"""Goodness of fit of every distribution to its law.

Each point of a grid gives one p-value: chi-square on cells of at least 20 expected draws for
counts, the exact binomial law of the number of non-zeros where means are so small that there are
no more than two such cells, Kolmogorov-Smirnov for continuous values. A grid fails when its
smallest p-value is below 1e-6 divided by the number of points, that is with a probability of at
most 1e-6 if all is well; seeds are fixed, so that a failure is a change and not bad luck. The
p-values of a grid must themselves be uniform, by Kolmogorov-Smirnov, again to 1e-6.

The fast grids draw 20,000 per point, the slow ones a million.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from draws import dense
from vaexprs import _core

stats = pytest.importorskip("scipy.stats")

F = np.float32
Draws = NDArray[np.floating[Any]]
ALARM = 1e-6

MEANS = [1e-8, 1e-4, 0.003, 0.05, 0.3, 1, 3, 10, 31.9, 32.1, 300, 1e4, 1e5]
THETAS = [0.01, 0.1, 0.5, 1, 3, 10, 100, 1e4]
LOGITS = [-3.0, 1.0]

N_DRAWS = [
    pytest.param(20_000, id="20k"),
    pytest.param(1_000_000, id="1M", marks=pytest.mark.slow),
]


def full(value: float, n: int) -> NDArray[np.float32]:
    """Return a matrix of one value with at least n entries, over several cells and tiles."""
    return np.full((-(-n // 1000), 1000), value, dtype=F)


def edges_of(law: Any, n: int, low: float) -> NDArray[np.float64]:
    """Return upper ends of cells k <= edge, each of at least 20 expected draws."""
    quantiles = np.linspace(0, 1, 60)[1:-1]
    tails = np.array([20 / n, 100 / n])
    points = law.ppf(np.concatenate([tails, quantiles, 1 - tails]))
    edges = np.unique(points[np.isfinite(points) & (points >= low)])
    kept: list[float] = []
    below = 0.0
    for edge in edges:
        cdf = law.cdf(edge)
        if (cdf - below) * n >= 20 and law.sf(edge) * n >= 20:
            kept.append(edge)
            below = cdf
    return np.array(kept)


def count_pvalue(draws: Draws, law: Any, weight: float = 1.0) -> float:
    """P-value of counts from ``weight`` times a law and otherwise zero."""
    draws = np.asarray(draws, dtype=float).ravel()
    assert (draws >= 0).all()
    assert (draws == np.floor(draws)).all()
    n = draws.size
    edges = edges_of(law, round(n * weight), 0)
    if len(edges) < 2:
        return float(stats.binomtest(int((draws > 0).sum()), n, weight * law.sf(0)).pvalue)
    observed = np.bincount(np.searchsorted(edges, draws), minlength=len(edges) + 1)
    expected = weight * np.diff(np.concatenate([[0], law.cdf(edges), [1]]))
    expected[0] += 1 - weight
    return float(stats.chisquare(observed, n * expected).pvalue)


def poisson(mean: float) -> Any:
    return stats.poisson(np.float64(F(mean)))


def nb(mean: float, theta: float) -> Any:
    mean, theta = np.float64(F(mean)), np.float64(F(theta))
    return stats.nbinom(theta, theta / (theta + mean))


def judge(pvalues: dict[Any, float]) -> None:
    """Fail if one p-value is too small, or all together are not uniform."""
    worst = min(pvalues, key=lambda point: pvalues[point])
    assert pvalues[worst] > ALARM / len(pvalues), (worst, pvalues[worst])
    # Tests on few zeros or non-zeros have p-values in steps, and often 1: left out here.
    inner = [p for p in pvalues.values() if p < 0.999]
    assert stats.kstest(inner, "uniform").pvalue > ALARM, sorted(inner)


@pytest.mark.parametrize("n", N_DRAWS)
def test_poisson(n: int) -> None:
    judge(
        {
            mean: count_pvalue(dense("poisson", full(mean, n), seed=i), poisson(mean))
            for i, mean in enumerate(MEANS)
        }
    )


@pytest.mark.parametrize("n", N_DRAWS)
def test_nb(n: int) -> None:
    judge(
        {
            (mean, theta): count_pvalue(
                dense("nb", full(mean, n), full(theta, 1)[:1], seed=100 + i), nb(mean, theta)
            )
            for i, (mean, theta) in enumerate(product(MEANS, THETAS))
        }
    )


@pytest.mark.parametrize("n", N_DRAWS)
def test_zinb(n: int) -> None:
    judge(
        {
            (mean, theta, logits): count_pvalue(
                dense("zinb", full(mean, n), full(theta, 1)[:1], full(logits, 1)[:1], seed=500 + i),
                nb(mean, theta),
                weight=float(1 / (1 + np.exp(logits))),
            )
            for i, (mean, theta, logits) in enumerate(product(MEANS, THETAS, LOGITS))
        }
    )


@pytest.mark.parametrize("n", N_DRAWS)
def test_bernoulli(n: int) -> None:
    means = [1e-8, 1e-3, 1 / 256, 0.1, 0.5, 0.77, 0.999, 1.0]
    pvalues = {}
    for i, mean in enumerate(means):
        draws = dense("bernoulli", full(mean, n), seed=900 + i)
        assert set(np.unique(draws)) <= {0, 1}
        chance = float(F(mean))
        pvalues[mean] = float(stats.binomtest(int(draws.sum()), draws.size, chance).pvalue)
    judge(pvalues)


@pytest.mark.parametrize("n", N_DRAWS)
def test_gaussian(n: int) -> None:
    points = [(0.0, 1.0), (-3.5, 0.25), (100.0, 30.0)]
    judge(
        {
            (mean, scale): float(
                stats.kstest(
                    dense("gaussian", full(mean, n), full(scale, 1)[0], seed=i)
                    .ravel()
                    .astype(float),
                    stats.norm(mean, scale).cdf,
                ).pvalue
            )
            for i, (mean, scale) in enumerate(points)
        }
    )


@pytest.mark.parametrize("n", N_DRAWS)
def test_zigamma(n: int) -> None:
    """The share of zeros, and the law of what is not zero."""
    pvalues = {}
    for i, (theta, logits) in enumerate(product([0.1, 0.7, 1, 2, 10, 300, 1e4, 1e7], LOGITS)):
        mean = float(F(3.7))
        draws = dense(
            "zigamma", full(mean, n), full(theta, 1)[0], full(logits, 1)[0], seed=1100 + i
        ).astype(float)
        theta = float(F(theta))
        # Below 1e-36 values leave float32, which shapes of 0.1 do once in 4,000 times.
        limit = 1e-36
        law = stats.gamma(theta, scale=mean / theta)
        weight = 1 / (1 + np.exp(logits))
        positive = draws[draws > limit]
        share = float(stats.binomtest(positive.size, draws.size, weight * law.sf(limit)).pvalue)
        below = law.cdf(limit)

        def cdf(x: Draws, law: Any = law, below: float = below) -> Draws:
            return (law.cdf(x) - below) / (1 - below)

        pvalues[theta, logits, "zero"] = share
        # Values of a vast shape are few float32 numbers: spread each over its own width.
        rng = np.random.default_rng(i)
        spacing = np.spacing(positive.astype(F)).astype(float)
        spread = positive + spacing * rng.uniform(-0.5, 0.5, positive.size)
        pvalues[theta, logits, "law"] = float(stats.kstest(spread, cdf).pvalue)
    judge(pvalues)


def rounded_float32(mean: float, theta: float, n: int) -> Draws:
    """Draw zero or one with p(0) in float32, as it comes: a large theta magnifies its rounding."""
    ratio = F(theta) / (F(theta) + F(mean))
    zero = np.float64(ratio) ** theta
    return (np.random.default_rng(1).random(n) >= zero).astype(float)


def rounded_normal(mean: float, theta: float, n: int) -> Draws:
    """Draw from the normal that has the right mean and variance, rounded."""
    z = np.random.default_rng(2).standard_normal(n)
    return np.maximum(np.round(mean + np.sqrt(mean + mean**2 / theta) * z), 0)


def cut_tail(mean: float, theta: float, n: int) -> Draws:
    """Draw from the law without its last tenth of a percent."""
    law = nb(mean, theta)
    return np.minimum(law.rvs(n, random_state=3), law.ppf(0.999))


@pytest.mark.parametrize(
    ("wrong", "mean", "theta"),
    [(rounded_float32, 0.5, 1e6), (rounded_normal, 300, 100), (cut_tail, 3, 1)],
)
def test_wrong_kernels_are_caught(
    wrong: Callable[[float, float, int], Draws], mean: float, theta: float
) -> None:
    """The same tests refuse draws that are a little off."""
    draws = wrong(mean, theta, 1_000_000)
    law = nb(mean, theta)
    if wrong is rounded_float32:  # zeros and ones: the first cell alone is right or wrong
        pvalue = stats.binomtest(int(draws.sum()), draws.size, law.sf(0)).pvalue
    else:
        pvalue = count_pvalue(draws, law)
    assert pvalue < ALARM / 1000


def test_entries_are_independent() -> None:
    """Counts of neighbours, and of the same gene in the next cell, do not correlate.

    Fails with a probability below 1e-5 if all is well.
    """

    def neighbours(x: Draws) -> Iterable[tuple[Draws, Draws]]:
        for gap in (1, 4, 16, 64, 256):
            yield x[:, gap:], x[:, :-gap]
        yield x[1:], x[:-1]

    for mean in (0.1, 5.0, 50.0):
        x = dense("nb", np.full((300, 1000), mean, F), np.full(1000, 2, F), seed=2)
        for a, b in neighbours(np.minimum(x, 4 * mean + 4)):
            correlation = np.corrcoef(a.ravel(), b.ravel())[0, 1]
            assert abs(correlation) < 5.2 * a.size**-0.5


def test_rectified_draws_are_normal_ones_cut_off_at_zero() -> None:
    mean = np.random.default_rng(0).normal(0, 2, (50, 700)).astype(F)
    scale = np.linspace(0, 3, 700, dtype=F)
    for instruction_set in _core.instruction_sets():
        options = {"seed": 7, "instruction_set": instruction_set}
        normal = dense("gaussian", mean, scale, **options)
        rectified = dense("rectified_gaussian", mean, scale, **options)
        assert np.array_equal(rectified, np.maximum(normal, 0))
