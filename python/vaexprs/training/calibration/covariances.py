"""Shrink the covariance of few real cells towards that of simulated cells.

A covariance of thirty scores of a few hundred cells is noise for a good part. So the scores of all
combinations together, and then those of each, count beside simulated cells: the posterior mean
under an inverse Wishart law whose mean is the covariance of the simulated ones. Each round moves
on from where the last one led.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Real cells that simulated ones count for, for each score: so many explained test cells of five
#: combinations of 125 to 334 training cells best, or nearly.
_CELLS_PER_SCORE = 8.0
#: Part of the mean variance below which a direction does not vary.
_TINY = 1e-9


def shrunk_covariances(made: list[Array], real: list[Array]) -> list[Array]:
    """Return the covariance that scores should have in each combination.

    The variance of each score over all cells is that of the real cells.

    Parameters
    ----------
    made
        Covariance of the scores of simulated cells in each combination, ``(d, d)``.
    real
        Scores of the real cells of each combination, without their mean, ``(n_cells, d)``.
    """
    freedom = np.array([max(len(cells) - 1, 0) for cells in real])
    if freedom.sum() < 2:  # nothing varies within combinations
        return made
    scatters = [cells.T @ cells for cells in real]
    together: Array = np.sum(scatters, axis=0)
    strength = _CELLS_PER_SCORE * len(together)
    pooled = _average(made, freedom)
    move = _root((strength * pooled + together) / (strength + freedom.sum()))
    move = move @ np.linalg.inv(_root(pooled))
    targets = [
        (strength * move @ each @ move.T + scatter) / (strength + n)
        for each, scatter, n in zip(made, scatters, freedom, strict=True)
    ]
    wanted, found = np.diag(together) / freedom.sum(), np.diag(_average(targets, freedom))
    left = np.sqrt(wanted / np.maximum(found, np.finfo(np.float64).tiny))
    return [left[:, None] * target * left for target in targets]


def _root(covariance: Array) -> Array:
    """Return a triangle whose product with its transpose is a covariance, made regular."""
    floor = _TINY * np.trace(covariance) / len(covariance) + np.finfo(np.float64).tiny
    root: Array = np.linalg.cholesky(covariance + floor * np.eye(len(covariance)))
    return root


def _average(covariances: list[Array], weight: NDArray[Any]) -> Array:
    average: Array = np.tensordot(weight / weight.sum(), np.stack(covariances), 1)
    return average
