"""Empirical Bayes: how far a difference between cells and draws is believed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Largest correction of a log mean or a logit in one step: a factor of 20.
_LARGEST = 3.0
#: Squared standard error below which a gene helps to estimate the spread of true differences, the
#: genes it takes, and the spread where there are fewer.
_KNOWN, _FEWEST_GENES, _USUAL_SPREAD = 0.5, 20, 0.05
#: Bounds of the spread: true differences of 7 % and of a factor of e; and the number of training
#: cells below which the lower bound is reduced in proportion to them.
_SPREADS, MANY_CELLS = (0.005, 1.0), 2000


def shrinkage(difference: Array, error: Array, n_cells: int = MANY_CELLS) -> Array:
    """Return the share of each difference to believe, from 0 to 1, ``(n_groups, n_genes)``.

    `error` holds squared standard errors. True differences of a group have one variance over all
    genes, estimated from the genes that are known well. Of a fit of few cells, `n_cells`, less is
    believed: what they have by chance tells them from others.
    """
    spread = np.full((len(difference), 1), _USUAL_SPREAD)
    least = _SPREADS[0] * min(1.0, n_cells / MANY_CELLS)
    for g in range(len(difference)):
        known = error[g] < _KNOWN
        if known.sum() >= _FEWEST_GENES:
            excess = difference[g, known] ** 2 - error[g, known]
            weight = 1 / (error[g, known] + _USUAL_SPREAD) ** 2
            spread[g] = np.clip((weight * excess).sum() / weight.sum(), least, _SPREADS[1])
    return spread / (spread + error)


def limited(step: Array) -> Array:
    """Return corrections cut to what one step may change."""
    return np.clip(step, -_LARGEST, _LARGEST)


def logit(p: Array) -> Array:
    """Return the log odds, away from certainty."""
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))
