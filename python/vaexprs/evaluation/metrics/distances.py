"""Distances between two clouds of cells, zero in expectation when they have one law."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import pairwise_distances

from vaexprs.errors import DataError
from vaexprs.evaluation.arrays import Array, Floats
from vaexprs.evaluation.comparison.sides import Side
from vaexprs.evaluation.registry import ScoreKind, metric

#: Bandwidths of the kernels of `mmd`, as multiples of the median distance between real cells.
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


def components(side: Side) -> Array:
    """View of a side for metrics: its principal-component scores."""
    return side.components


@metric(
    ScoreKind("mmd", "distances", "Maximum mean discrepancy (squared)", "lower",
        "Unbiased squared MMD on components, mean of Gaussian kernels at 1/4, 1/2, 1, 2 and 4 "
        "times the median distance of test cells; 0 in expectation for one law."),
    view=components,
)  # fmt: skip
def mmd(real: Array, generated: Array) -> float:
    """Squared maximum mean discrepancy, unbiased, the mean of Gaussian kernels.

    ``k(x, y) = mean over b of exp(-|x - y|² / (2 (b s)²))``, where ``s`` is the median distance
    between real cells, and b runs through `BANDWIDTHS`. The estimator is the U-statistic of
    Gretton et al. (2012), equation 3: it is zero in expectation when both laws are one, and
    falls below zero by chance.
    """
    within, between, across = _distances(real, generated)
    scale = float(np.median(within[np.triu_indices(len(real), 1)]))
    scale = max(scale, np.finfo(float).tiny)

    def kernel(distances: Floats) -> Floats:
        squares = (distances / scale) ** 2
        total = np.zeros_like(squares)
        for multiple in BANDWIDTHS:
            total += np.exp(squares / (-2.0 * multiple**2))
        return total / len(BANDWIDTHS)

    return (
        _mean_off_diagonal(kernel(within))
        + _mean_off_diagonal(kernel(between))
        - 2.0 * float(kernel(across).mean())
    )


@metric(
    ScoreKind("energy_distance", "distances", "Energy distance", "lower",
        "2 E|x-y| - E|x-x'| - E|y-y'| on components, unbiased; 0 in expectation for one law."),
    view=components,
)  # fmt: skip
def energy_distance(real: Array, generated: Array) -> float:
    """Energy distance, 2 E|x - y| - E|x - x'| - E|y - y'|, unbiased.

    Székely and Rizzo (2013). Pairs of a cell with itself are left out, so that the expectation
    is zero when both laws are one. In units of the features.
    """
    within, between, across = _distances(real, generated)
    return 2.0 * float(across.mean()) - _mean_off_diagonal(within) - _mean_off_diagonal(between)


def _distances(real: Array, generated: Array) -> tuple[Floats, Floats, Floats]:
    if min(len(real), len(generated)) < 2:
        raise DataError("a distance between clouds needs at least two cells in each")
    # In float64: squared distances are found from inner products, which cancel badly in float32.
    x, y = np.asarray(real, dtype=np.float64), np.asarray(generated, dtype=np.float64)
    return pairwise_distances(x), pairwise_distances(y), pairwise_distances(x, y)


def _mean_off_diagonal(values: Floats) -> float:
    n = len(values)
    return float((values.sum() - np.trace(values)) / (n * (n - 1)))
