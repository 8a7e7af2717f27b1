"""After training: make the sizes of generated cells, in genes detected, those of real cells.

Cells are filtered by their size before anyone fits them: by a least number of genes detected, often
a largest one, too. What is left has edges that no normal law has. Here the number of genes that a
cell of given z and library size shows is followed back to one direction of the prior; along it,
each component of a mixture becomes a row of narrow ones with a common covariance, set so that the
quantiles of the genes detected are those of the training cells.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from vaexprs.spec import Prior

__all__ = ["SizeLaw", "detected"]

Array = NDArray[np.float64]

#: Narrow components in place of one, in a combination with a law of its own and in others, and
#: their spread in units of the one's.
_PIECES, _FEW_PIECES, _WIDTH = 16, 6, 0.2
#: Levels of the quantiles that are compared.
_LEVELS = (np.arange(20) + 0.5) / 20
#: Fewest cells of a combination that is given a law of its own; cells at half trust.
_FEWEST_CELLS, _EVIDENCE = 30, 15.0
#: How far the mean log library size of a combination may be moved.
_DEEPER = 0.15


def detected(X: Any) -> Array:
    """Return the log number of genes detected in each cell, ``(n_cells,)``."""
    n_genes = np.asarray((X > 0).sum(axis=1)).ravel()
    return np.asarray(np.log(np.maximum(n_genes, 1)), np.float64)


class SizeLaw:
    """Moves a prior along the direction of size until quantiles agree.

    Combinations with few cells have one law in common: filters know no combinations.

    Parameters
    ----------
    y, size, made, weight
        Draws from the prior (z and the log library size), the log number of genes detected in
        cells made of them, their combination, and how many cells each stands for.
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
        lawful = self.law_of[group]
        within, outcome = _centre(y, made), _centre(size, made)
        self.direction = np.asarray(np.linalg.lstsq(within, outcome, rcond=None)[0], np.float64)
        self.place = y @ self.direction  # of each draw along the direction
        self.trust: dict[int, float] = {}
        self.paths: dict[int, Array] = {}
        self.wanted: dict[int, Array] = {}
        self.start: dict[int, Array] = {}
        self.moved: dict[int, Array] = {}
        for g in np.flatnonzero(np.bincount(lawful) >= _FEWEST_CELLS).tolist():
            own = self.made == g
            along = within[own] @ self.direction
            square = float(along @ along)
            if square < 1e-8:
                continue
            n = int((lawful == g).sum())
            self.trust[g] = n / (n + _EVIDENCE)
            self.paths[g] = within[own].T @ along / square  # how y goes with its size
            self.wanted[g] = np.quantile(real[lawful == g], _LEVELS)
            self.start[g] = _quantiles(self.place[own], weight[own])
            self.moved[g] = np.zeros(len(_LEVELS))
        self.compare(size)

    def compare(self, size: Array) -> None:
        """Move the quantiles by what cells made of `moved_draws` lack."""
        for g, wanted in self.wanted.items():
            own = self.made == g
            gap = wanted - _quantiles(size[own], self.weight[own])
            moved = self.start[g] + self.moved[g] + self.trust[g] * gap
            # noise of counts widens the edges of a law; what asks for less than none is shared out
            moved = _rising(moved) - self.start[g]
            # what a decoder shows too many or too few genes of is not made up for by library sizes
            deeper = float(moved.mean() * self.paths[g][-1])
            excess = deeper - np.clip(deeper, -_DEEPER, _DEEPER)
            self.moved[g] = moved - (excess / self.paths[g][-1] if excess else 0)

    def _shift(self, g: int, place: Array) -> Array:
        """Return how a combination moves what lies at some places, ``(n, n_dim)``."""
        return np.outer(np.interp(place, self.start[g], self.moved[g]), self.paths[g])

    def moved_draws(self) -> Array:
        """Return the same draws where the law has moved them, ``(n_draws, n_dim)``."""
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
                if law in self.paths and variance > 1e-8:
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
    """Return the quantiles of weighted values at the levels that are compared."""
    order = np.argsort(values, kind="stable")
    level = np.cumsum(weight[order])
    level = (level - 0.5 * weight[order]) / level[-1]
    return np.interp(_LEVELS, level, values[order])


def _centre(values: Array, group: NDArray[np.int64]) -> Array:
    """Subtract the mean of each group."""
    n = np.maximum(np.bincount(group), 1)
    columns = values.reshape(len(values), -1).T
    means = np.stack([np.bincount(group, column) / n for column in columns], axis=1)
    return np.asarray(values - means[group].reshape(values.shape))


def _rising(values: Array) -> Array:
    """Return the nearest values that do not fall: neighbours that do are pooled."""
    sums: list[float] = []
    sizes: list[int] = []
    for value in values:
        sums.append(float(value))
        sizes.append(1)
        while len(sums) > 1 and sums[-2] / sizes[-2] > sums[-1] / sizes[-1]:
            total, size = sums.pop(), sizes.pop()
            sums[-1] += total
            sizes[-1] += size
    return np.repeat(np.array(sums) / np.array(sizes), sizes)


def _normal_parts(n: int) -> Array:
    """Return the means of n equally likely parts of a normal law, scaled to a variance of one."""
    edges = norm.ppf(np.arange(n + 1) / n)
    means = n * (norm.pdf(edges[:-1]) - norm.pdf(edges[1:]))
    return np.asarray(means / means.std())
