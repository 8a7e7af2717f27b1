"""After training: make the sizes of generated cells, in genes and in counts, those of real cells.

Cells are filtered by their size before anyone fits them: by a least number of genes detected, often
a largest one, too. What is left has edges that no normal law has. And how many counts go with so
many genes is a matter of chemistry and of the decoder's errors. So two directions of the prior are
set straight, one after the other:

- along what y (z and, where there is one, the log library size) tells of the genes detected, each
  component of a mixture becomes a row of narrow ones with a common covariance, placed so that the
  quantiles of the genes detected are those of the training cells;
- along what y tells of the total counts beyond that, draws are moved and spread until the total
  counts of cells with so many genes have the mean and the variance that they have in real cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from vaexprs.spec import Prior

__all__ = ["SizeLaw", "Sizes"]

Array = NDArray[np.float64]

#: Narrow components in place of one, in a combination with a law of its own and in others, and
#: their spread in units of the one's.
_PIECES, _FEW_PIECES, _WIDTH = 16, 6, 0.2
#: Levels of the quantiles that are compared.
_LEVELS = (np.arange(20) + 0.5) / 20
#: Fewest cells of a combination that is given a law of its own; cells at half trust.
_FEWEST_CELLS, _EVIDENCE = 30, 15.0
#: Cells to a bin of like numbers of genes, and most bins.
_CELLS_PER_BIN, _MOST_BINS = 30, 5
#: How far the spread of total counts among cells with so many genes may be scaled.
_SCALES = (0.2, 2.0)


@dataclass(frozen=True)
class Sizes:
    """Log of the total counts and of the genes detected of cells, ``(n_cells,)`` each."""

    total: Array
    detected: Array

    @classmethod
    def of(cls, X: Any) -> Sizes:
        """Measure cells, one in each row of a matrix of counts."""
        total = np.asarray(X.sum(axis=1), np.float64).ravel()
        n_genes = np.asarray((X > 0).sum(axis=1)).ravel()
        return cls(np.log(np.maximum(total, 1)), np.log(np.maximum(n_genes, 1)))

    def take(self, rows: NDArray[Any]) -> Sizes:
        """Return those of some cells."""
        return Sizes(self.total[rows], self.detected[rows])


@dataclass
class _Law:
    """What is known and what is moved of the cells that share a law.

    ``y @ told`` is what y tells of the genes detected, and `growing` is how y goes with it;
    ``(y - middle) @ beyond`` is what it tells of the total counts beyond that, and `deepening` is
    how y goes with it.
    """

    real: Sizes
    trust: float
    told: Array
    growing: Array
    middle: Array
    beyond: Array
    deepening: Array
    spread: float  # standard deviation of what y tells of the total counts beyond
    start: Array  # quantiles of what is told
    moved: Array  # by how much, at the quantiles
    centres: Array  # of the bins of like numbers of genes
    shift: Array  # of the log total counts, in the bins
    scale: float = 1.0

    def move(self, y: Array) -> Array:
        """Return draws, or means of components, where the law has moved them, ``(n, n_dim)``."""
        place = y @ self.told
        by = np.interp(place, self.start, self.moved)
        # the bins lie at quantiles of the genes detected: as far along as these are
        level = np.interp(place + by, self.start + self.moved, _LEVELS)
        bins = (np.arange(len(self.shift)) + 0.5) / len(self.shift)
        deeper = np.interp(level, bins, self.shift)
        deeper = deeper + (self.scale - 1) * ((y - self.middle) @ self.beyond)
        return np.asarray(y + np.outer(by, self.growing) + np.outer(deeper, self.deepening))

    def compare(self, made: Sizes, weight: Array) -> None:
        """Move by what cells drawn by the law so far lack."""
        gap = np.quantile(self.real.detected, _LEVELS) - _quantiles(made.detected, weight)
        moved = self.start + self.moved + self.trust * gap
        # noise of counts widens the edges of a law; what asks for less than none is shared out
        self.moved = _rising(moved) - self.start
        if self.spread == 0:
            return
        real, drawn = (_by_bins(self.centres, sizes) for sizes in (self.real, made))
        known = (real.n > 1) & (drawn.n > 1)
        trust = real.n / (real.n + _EVIDENCE) * known
        self.shift = self.shift + trust * (real.mean - drawn.mean)
        variance = [
            (real.n * side.variance)[known].sum() / max(real.n[known].sum(), 1)
            for side in (real, drawn)
        ]
        lack = self.trust * (variance[0] - variance[1]) / self.spread**2
        self.scale = float(np.sqrt(np.clip(self.scale**2 + lack, *np.square(_SCALES))))


class SizeLaw:
    """Moves a prior until cells drawn from it have the sizes of real ones.

    Combinations with few cells have one law in common: filters know no combinations.

    Parameters
    ----------
    y, sizes, made, weight
        Draws from the prior (z and any log library size), the sizes of cells made of them, their
        combination, and how many cells each stands for.
    real, group
        Sizes of real cells, and their combination.
    """

    def __init__(
        self,
        y: Array,
        sizes: Sizes,
        made: NDArray[np.int64],
        weight: Array,
        real: Sizes,
        group: NDArray[np.int64],
    ) -> None:
        self.y, self.weight = y, weight
        n_cells = np.bincount(group)
        n_groups = len(n_cells)
        few = (n_cells < _FEWEST_CELLS) & (n_cells[n_cells < _FEWEST_CELLS].sum() >= _FEWEST_CELLS)
        self.law_of = np.where(few, n_groups, np.arange(n_groups))  # of each combination
        self.made = self.law_of[made]
        lawful = self.law_of[group]
        within = _centre(y, made)
        both = np.column_stack([sizes.detected, sizes.total])
        told = np.asarray(np.linalg.lstsq(within, _centre(both, made), rcond=None)[0].T, np.float64)
        self.laws: dict[int, _Law] = {}
        for g in np.flatnonzero(np.bincount(lawful) >= _FEWEST_CELLS).tolist():
            own = self.made == g
            law = _start(y[own], within[own], told, weight[own], real.take(lawful == g))
            if law is not None:
                self.laws[g] = law
        self.compare(sizes)

    def compare(self, sizes: Sizes) -> None:
        """Move the laws by what cells made of `moved_draws` lack."""
        for g, law in self.laws.items():
            own = self.made == g
            law.compare(sizes.take(own), self.weight[own])

    def moved_draws(self) -> Array:
        """Return the same draws where the laws have moved them, ``(n_draws, n_dim)``."""
        out = self.y.copy()
        for g, law in self.laws.items():
            own = self.made == g
            out[own] = law.move(self.y[own])
        return out

    def moved_prior(self, prior: Prior) -> Prior:
        """Return the prior with rows of narrow components in place of wide ones."""
        offsets, weights, means, factor = [0], [], [], []
        tril: list[Array] = []
        for g in range(len(prior.offsets) - 1):
            place = int(self.law_of[g])
            law = self.laws.get(place)
            n_pieces = _PIECES if place == g else _FEW_PIECES
            for c in range(int(prior.offsets[g]), int(prior.offsets[g + 1])):
                pieces = prior.means[c][None].astype(np.float64)
                narrow = prior.tril[prior.factor[c]].astype(np.float64)
                if law is not None:
                    pieces, narrow = _cut(pieces, narrow, law.told, n_pieces)
                    pieces = law.move(pieces)
                    scaled = narrow + (law.scale - 1) * np.outer(law.deepening, law.beyond @ narrow)
                    narrow = np.linalg.cholesky(scaled @ scaled.T + 1e-9 * np.eye(len(scaled)))
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


def _start(y: Array, within: Array, told: Array, weight: Array, real: Sizes) -> _Law | None:
    """Return a law that moves nothing yet, or None where nothing tells of the genes detected."""
    genes, counts = told
    along = within @ genes
    square = float(along @ along)
    if square < 1e-8:
        return None
    growing = within.T @ along / square
    beyond = counts - (growing @ counts) * genes  # less what goes with the genes detected
    rest = within @ beyond
    spread = float(rest.std())
    n_bins = int(np.clip(len(real.total) // _CELLS_PER_BIN, 1, _MOST_BINS))
    return _Law(
        real=real,
        trust=len(real.total) / (len(real.total) + _EVIDENCE),
        told=genes,
        growing=growing,
        middle=y.mean(axis=0),
        beyond=beyond,
        deepening=within.T @ rest / max(float(rest @ rest), 1e-12),
        spread=spread if spread > 1e-4 else 0.0,
        start=_quantiles(y @ genes, weight),
        moved=np.zeros(len(_LEVELS)),
        centres=np.quantile(real.detected, (np.arange(n_bins) + 0.5) / n_bins),
        shift=np.zeros(n_bins),
    )


def _cut(mean: Array, tril: Array, told: Array, n_pieces: int) -> tuple[Array, Array]:
    """Cut a component along a direction: means of the pieces, and the factor of each."""
    covariance = tril @ tril.T
    variance = float(told @ covariance @ told)
    if variance < 1e-8:
        return mean, tril
    along = covariance @ told / variance
    taken = (1 - _WIDTH**2) * variance
    left = covariance - taken * np.outer(along, along) + 1e-9 * np.eye(len(along))
    pieces = mean + np.outer(np.sqrt(taken) * _normal_parts(n_pieces), along)
    return pieces, np.asarray(np.linalg.cholesky(left), np.float64)


@dataclass(frozen=True)
class _Bins:
    """Log total counts of cells with like numbers of genes."""

    n: Array
    mean: Array
    variance: Array  # about the line through the means


def _by_bins(centres: Array, sizes: Sizes) -> _Bins:
    """Put cells into the bins of the nearest centre and tell the total counts in each.

    Within a bin the counts rise with the genes: means are taken at the centre, and variances about
    the line that the whole law has.
    """
    x = sizes.detected - sizes.detected.mean()
    rise = float(x @ sizes.total) / max(float(x @ x), 1e-12)
    where = np.abs(sizes.detected[:, None] - centres).argmin(axis=1)
    level = sizes.total - rise * (sizes.detected - centres[where])
    n = np.bincount(where, minlength=len(centres)).astype(np.float64)
    mean = np.bincount(where, level, minlength=len(centres)) / np.maximum(n, 1)
    squares = np.bincount(where, (level - mean[where]) ** 2, minlength=len(centres))
    return _Bins(n, mean, squares / np.maximum(n - 1, 1))


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
