"""Shrink the covariance of few real cells towards that of simulated cells (empirical Bayes).

A covariance of thirty scores of a few hundred cells is mostly noise, and to match it as it is
would widen the draws: a variance cannot shrink below zero, so noise mostly adds. So variances are
those of all real cells together. Correlations, and single combinations, depart from the simulated
cells only where the difference exceeds the sampling error. True differences have one variance over
combinations for the log variance of each score, and one for all correlations.

That variance is small where a few programs of large combinations differ. So their cells count once
more, beside the covariance found so far: the posterior mean under an inverse Wishart law. Of a fit
of few cells less is believed, since what they have by chance tells them from others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.training.calibration.shrinkage import MANY_CELLS

Array = NDArray[np.float64]

#: Variance of the log variance of n values, times n: 2 for normal values, more for long tails.
_SAMPLING = 3.0
#: Weight of the covariance found so far, in cells for each score. With this weight test cells of
#: five combinations of 125 to 334 training cells had nearly their highest likelihood.
_CELLS_PER_SCORE = 8.0
#: Variance of a score that does not vary.
_TINY = 1e-12


def shrunk_covariances(made: list[Array], n_made: NDArray[Any], real: list[Array]) -> list[Array]:
    """Return the covariance that scores should have in each combination.

    The variance of each score over all cells is that of the real cells. The result is symmetric,
    not always positive definite.
    """
    n_real = np.array([max(len(cells) - 1, 0) for cells in real])
    if n_real.sum() < 2:  # nothing varies within combinations
        return made
    share = n_real / n_real.sum()
    pooled = _average(made, share)
    scatter = np.asarray(sum(cells.T @ cells for cells in real))
    pooled_real = scatter / n_real.sum()
    error = 1 / n_real.sum() + 1 / n_made.sum()
    spread = _true_spread([(pooled, pooled_real, error)])
    _, correlation = _between(pooled, pooled_real, error, spread)
    shift = correlation - _correlation(pooled)
    stretch = np.log(_variance(pooled_real) / _variance(pooled))
    targets = [
        _covariance(np.log(_variance(each)) + stretch, _correlation(each) + shift) for each in made
    ]

    own = {
        int(g): (targets[g], real[g].T @ real[g] / n_real[g], 1 / n_real[g] + 1 / n_made[g])
        for g in np.flatnonzero(n_real > 1)
    }
    spread = _true_spread(list(own.values()))
    for g, (expected, covariance, error) in own.items():
        targets[g] = _covariance(*_between(expected, covariance, error, spread))
    strength = _CELLS_PER_SCORE * max(1.0, MANY_CELLS / n_real.sum()) * len(pooled)
    targets = [
        (strength * target + cells.T @ cells) / (strength + n)
        for target, cells, n in zip(targets, real, n_real, strict=True)
    ]
    # logs of variances of few cells are too low on average: restore the pooled variance
    left = np.sqrt(_variance(pooled_real) / _variance(_average(targets, share)))
    return [left[:, None] * target * left for target in targets]


def _true_spread(pairs: list[tuple[Array, Array, float]]) -> tuple[Array, float]:
    """Return the variances of true differences in log variances and in correlations.

    Each pair of covariances comes with ``1 / n`` of its samples, the squared error of a mean in
    units of its variance.
    """
    of_variance, of_correlation = np.zeros(1), 0.0
    weight = sum(1 / error for _, _, error in pairs)
    for before, after, error in pairs:
        trust = 1 / error / weight
        rho = _correlation(before)
        apart = ~np.eye(len(rho), dtype=bool)
        change = np.log(_variance(after) / _variance(before))
        turn = (_correlation(after) - rho)[apart]
        of_variance = of_variance + trust * (change**2 - _SAMPLING * error)
        if turn.size:
            noise = (1 - rho[apart] ** 2) ** 2 * error
            of_correlation += trust * float(np.mean(turn**2 - noise))
    return np.maximum(of_variance, 0), max(of_correlation, 0.0)


def _between(
    old: Array, new: Array, error: float, spread: tuple[Array, float]
) -> tuple[Array, Array]:
    """Return log variances and correlations of `old`, moved towards `new` by their shrinkage."""
    of_variance, of_correlation = spread
    before, rho = np.log(_variance(old)), _correlation(old)
    far = of_variance / (of_variance + _SAMPLING * error)
    turned = of_correlation / (of_correlation + error)
    return (
        before + far * (np.log(_variance(new)) - before),
        rho + turned * (_correlation(new) - rho),
    )


def _variance(covariance: Array) -> Array:
    return np.maximum(np.diag(covariance), _TINY)


def _correlation(covariance: Array) -> Array:
    deviation = np.sqrt(_variance(covariance))
    return covariance / deviation[:, None] / deviation


def _covariance(log_variance: Array, correlation: Array) -> Array:
    deviation = np.exp(0.5 * log_variance)
    return deviation[:, None] * correlation * deviation


def _average(covariances: list[Array], share: Array) -> Array:
    return np.asarray(sum(part * each for part, each in zip(share, covariances, strict=True)))
