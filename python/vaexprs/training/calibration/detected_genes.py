"""Match the quantiles of genes detected per cell to those of the training cells.

Cells are filtered by the number of genes detected before anyone fits them, so its law has edges
that no normal law has. The number of genes that draws show is regressed on their coordinates,
which gives one direction of the prior. Along it, each component of a mixture is split into a row
of narrow ones with a common covariance, placed so that the quantiles agree but for their mean,
which is that of the library sizes and stays.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.stats import norm

from vaexprs.spec import Prior
from vaexprs.training.inputs.moments import group_centred

Array = NDArray[np.float64]

#: Narrow components in place of one, in combinations with a law of their own and in others, and
#: the standard deviation of each in units of the one's.
_PIECES, _FEW_PIECES, _WIDTH = 16, 6, 0.2
#: Levels of the quantiles to match.
_LEVELS = (np.arange(20) + 0.5) / 20
#: Fewest cells of a combination with a law of its own, and cells at half trust.
_FEWEST_CELLS, _EVIDENCE = 30, 15.0
#: Variance along the direction below which nothing can be moved.
_FLAT = 1e-8
#: A regression of size on z counts from this multiple of the variance that a regression on
#: coordinates without any relation to size explains by chance.
_BEYOND_CHANCE = 4.0


def detected(X: Any) -> Array:
    """Return the log number of genes detected in each cell, ``(n_cells,)``."""
    n_genes = np.asarray((X > 0).sum(axis=1)).ravel()
    return np.log(np.maximum(n_genes, 1)).astype(np.float64)


class SizeLaw:
    """Moves a prior along the direction of size until quantiles agree.

    Combinations with few cells have one law in common, since filters apply to all alike.

    Parameters
    ----------
    y, size
        Draws from the prior (z and the log library size), and the log number of genes detected
        in cells made from them.
    made, weight
        Combination of each draw, and the number of cells it stands for.
    real, group
        Log number of genes detected in real cells, and their combination.
    """

    def __init__(
        self,
        y: Array,
        size: Array,
        made: NDArray[np.int64],
        weight: Array,
        real: Array,
        group: NDArray[np.int64],
    ) -> None:
        self.y, self.weight = y, weight
        n_cells = np.bincount(group)
        n_groups = len(n_cells)
        few = (n_cells < _FEWEST_CELLS) & (n_cells[n_cells < _FEWEST_CELLS].sum() >= _FEWEST_CELLS)
        self.law_of = np.where(few, n_groups, np.arange(n_groups))  # of each combination
        self.made = self.law_of[made]
        real_law = self.law_of[group]
        within, outcome = group_centred(y, made), group_centred(size, made)
        self.direction = np.linalg.lstsq(within, outcome, rcond=None)[0].astype(np.float64)
        self.place = y @ self.direction  # of each draw along the direction
        explained = np.square(within @ self.direction).sum()
        by_chance = y.shape[1] / len(y) * np.square(outcome).sum()
        self.trust: dict[int, float] = {}
        self.paths: dict[int, Array] = {}
        self.wanted: dict[int, Array] = {}
        self.start: dict[int, Array] = {}
        self.moved: dict[int, Array] = {}
        for g in np.flatnonzero(np.bincount(real_law) >= _FEWEST_CELLS).tolist():
            own = self.made == g
            along = within[own] @ self.direction
            square = float(along @ along)
            if square < _FLAT or explained < _BEYOND_CHANCE * by_chance:
                continue
            n = int((real_law == g).sum())
            self.trust[g] = n / (n + _EVIDENCE)
            self.paths[g] = within[own].T @ along / square  # change of y with its size
            self.wanted[g] = np.quantile(real[real_law == g], _LEVELS)
            self.start[g] = _quantiles(self.place[own], weight[own])
            self.moved[g] = np.zeros(len(_LEVELS))
        self.compare(size)

    def compare(self, size: Array) -> None:
        """Move the quantiles by the gap that cells made from `moved_draws` leave."""
        for g, wanted in self.wanted.items():
            own = self.made == g
            gap = wanted - _quantiles(size[own], self.weight[own])
            moved = self.start[g] + self.moved[g] + self.trust[g] * gap
            # counting noise alone may be wider than the target, which would ask for a negative
            # variance: neighbouring quantiles are pooled instead
            moved = isotonic_regression(moved).x - self.start[g]
            # genes that the decoder shows too often or too rarely are not made up for by sizes
            self.moved[g] = moved - moved.mean()

    def _shift(self, g: int, place: Array) -> Array:
        """Return the move of a combination at some places, ``(n, n_dim)``."""
        return np.outer(np.interp(place, self.start[g], self.moved[g]), self.paths[g])

    def moved_draws(self) -> Array:
        """Return the draws, moved, ``(n_draws, n_dim)``."""
        out = self.y.copy()
        for g in self.paths:
            out[self.made == g] += self._shift(g, self.place[self.made == g])
        return out

    def moved_prior(self, prior: Prior) -> Prior:
        """Return the prior with rows of narrow components in place of wide ones."""
        a = self.direction
        offsets, weights, means, factor = [0], [], [], []
        tril: list[Array] = []
        for g in range(len(prior.offsets) - 1):
            law = int(self.law_of[g])
            for c in range(int(prior.offsets[g]), int(prior.offsets[g + 1])):
                narrow = prior.tril[prior.factor[c]].astype(np.float64)
                pieces = prior.means[c][None].astype(np.float64)
                covariance = narrow @ narrow.T
                variance = float(a @ covariance @ a)
                if law in self.paths and variance > _FLAT:
                    along = covariance @ a / variance
                    taken = (1 - _WIDTH**2) * variance
                    narrow = np.linalg.cholesky(
                        covariance - taken * np.outer(along, along) + 1e-9 * np.eye(len(a))
                    )
                    parts = _normal_parts(_PIECES if law == g else _FEW_PIECES)
                    pieces = pieces + np.outer(np.sqrt(taken) * parts, along)
                    pieces = pieces + self._shift(law, pieces @ a)
                weights.append(np.full(len(pieces), prior.weights[c] / len(pieces)))
                means.append(pieces)
                factor.append(np.full(len(pieces), len(tril)))
                tril.append(narrow)
            offsets.append(sum(map(len, weights)))
        return replace(
            prior,
            offsets=np.array(offsets, np.int64),
            weights=np.concatenate(weights),
            means=np.concatenate(means).astype(np.float32),
            tril=np.stack(tril).astype(np.float32),
            factor=np.concatenate(factor).astype(np.int32),
        )


def _quantiles(values: Array, weight: Array) -> Array:
    """Return the quantiles of weighted values."""
    order = np.argsort(values, kind="stable")
    level = np.cumsum(weight[order])
    level = (level - 0.5 * weight[order]) / level[-1]
    return np.interp(_LEVELS, level, values[order])


def _normal_parts(n: int) -> Array:
    """Return the means of n equally likely parts of a normal law, scaled to variance 1."""
    edges = norm.ppf(np.arange(n + 1) / n)
    means = n * (norm.pdf(edges[:-1]) - norm.pdf(edges[1:]))
    return means / means.std()
