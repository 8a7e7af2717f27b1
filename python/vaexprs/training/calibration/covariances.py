"""Covariances of few cells, believed as far as they tell more than drawn cells do.

A covariance of thirty scores of a few hundred cells is mostly noise, and moving drawn cells to it
as it is would widen them: what noise takes from a variance cannot go below nothing, what it adds
stays. So variances are those of all real cells together, and correlations and single combinations
differ from those of drawn cells only as far as they do by more than samples of so many cells would
(empirical Bayes: true differences have one variance over combinations, for the log variances of
each score, and for all correlations).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["believed_covariances"]

Array = NDArray[np.float64]

#: Variance of the log variance of n values, times n: 2 for normal values, more for long tails.
_SAMPLING = 3.0
#: Variance of scores that never vary.
_TINY = 1e-12


def believed_covariances(made: list[Array], n_made: NDArray[Any], real: list[Array]) -> list[Array]:
    """Return the covariance that scores should have in each combination.

    The variance of each score over all cells is that of the real cells.

    Parameters
    ----------
    made
        Covariance of the drawn scores of each combination, ``(n_scores, n_scores)`` each.
    n_made
        Number of draws of each, ``(n_combinations,)``.
    real
        Scores of its real cells, centred, ``(n_cells, n_scores)`` each.

    Returns
    -------
    list of arrays
        One for each combination, ``(n_scores, n_scores)``: symmetric, but not always positive
        definite.
    """
    n_real = np.array([max(len(cells) - 1, 0) for cells in real])
    if n_real.sum() < 2:  # nothing varies within combinations
        return made
    share = n_real / n_real.sum()
    pooled = _average(made, share)
    scatter = np.asarray(sum(cells.T @ cells for cells in real))
    pooled_real = scatter / n_real.sum()
    error = 1 / n_real.sum() + 1 / n_made.sum()
    believed = _true_spread([(pooled, pooled_real, error)])
    _, correlation = _between(pooled, pooled_real, error, believed)
    shift = correlation - _correlation(pooled)
    stretch = np.log(_variance(pooled_real) / _variance(pooled))
    targets = [
        _covariance(np.log(_variance(each)) + stretch, _correlation(each) + shift) for each in made
    ]

    own = {
        int(g): (targets[g], real[g].T @ real[g] / n_real[g], 1 / n_real[g] + 1 / n_made[g])
        for g in np.flatnonzero(n_real > 1)
    }
    believed = _true_spread(list(own.values()))
    for g, (expected, covariance, error) in own.items():
        targets[g] = _covariance(*_between(expected, covariance, error, believed))
    # logs of the variances of few cells are too low on average: all together as in real cells
    left = np.sqrt(_variance(pooled_real) / _variance(_average(targets, share)))
    return [left[:, None] * target * left for target in targets]


def _true_spread(pairs: list[tuple[Array, Array, float]]) -> tuple[Array, float]:
    """Estimate the variances of true differences, in log variances and in correlations.

    Each pair of covariances is of samples so small that a mean is off by the variance given third.
    """
    of_variance, of_correlation = np.zeros(1), 0.0
    weight = sum(1 / off for _, _, off in pairs)
    for before, after, off in pairs:
        trust = 1 / off / weight
        rho = _correlation(before)
        apart = ~np.eye(len(rho), dtype=bool)
        change = np.log(_variance(after) / _variance(before))
        turn = (_correlation(after) - rho)[apart]
        of_variance = of_variance + trust * (change**2 - _SAMPLING * off)
        if turn.size:
            noise = (1 - rho[apart] ** 2) ** 2 * off
            of_correlation += trust * float(np.mean(turn**2 - noise))
    return np.maximum(of_variance, 0), max(of_correlation, 0.0)


def _between(
    old: Array, new: Array, error: float, believed: tuple[Array, float]
) -> tuple[Array, Array]:
    """Go from one covariance towards another as far as is believed: log variances, correlations."""
    of_variance, of_correlation = believed
    before, rho = np.log(_variance(old)), _correlation(old)
    far = of_variance / (of_variance + _SAMPLING * error)
    turned = of_correlation / (of_correlation + error)
    return (
        before + far * (np.log(_variance(new)) - before),
        rho + turned * (_correlation(new) - rho),
    )


def _variance(covariance: Array) -> Array:
    return np.asarray(np.maximum(np.diag(covariance), _TINY))


def _correlation(covariance: Array) -> Array:
    deviation = np.sqrt(_variance(covariance))
    return np.asarray(covariance / deviation[:, None] / deviation)


def _covariance(log_variance: Array, correlation: Array) -> Array:
    deviation = np.exp(0.5 * log_variance)
    return np.asarray(deviation[:, None] * correlation * deviation)


def _average(covariances: list[Array], share: Array) -> Array:
    return np.asarray(sum(part * each for part, each in zip(share, covariances, strict=True)))
