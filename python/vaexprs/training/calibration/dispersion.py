r"""Dispersions of counts by marginal maximum likelihood, per gene and combination of categories.

Within a combination a gene's counts vary because z varies and because of the law itself. Draws
from the prior give the first as the squared coefficient of variation ``k`` of the gene's share of
the counts. The marginal law is then close to a negative binomial with

.. math:: 1 / \theta_{marginal} = k + (1 + k) / \theta,

the squared coefficient of variation of a product. The inverse dispersion of a cell follows its
library size L,

.. math:: \theta = \theta_{gene} (L / L_{typical})^a,

with one exponent for all genes. ``a = 0`` is the usual law (NB2 of Cameron and Trivedi 1986), whose
variance exceeds the mean by :math:`\mu^2 / \theta`: cells truly differ. At ``a = 1`` (NB1) the
excess is in proportion to the mean: molecules are counted twice or come together. Droplet data lie
at 0.3 to 0.5, combinatorial indexing near 1.

The likelihood of the training counts is computed on a grid of :math:`\theta`. It chooses the
exponent; then each gene is shrunk towards the trend over genes, the categories of the key that
differs most towards their gene, and combinations with enough cells towards their categories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import gammaln

from vaexprs.training.likelihoods.base import DISPERSION_BOUNDS

Array = NDArray[np.float64]

#: Grid of log theta in steps of 0.4, between which parabolas interpolate.
_GRID = np.linspace(np.log(DISPERSION_BOUNDS[0]), np.log(DISPERSION_BOUNDS[1]), 28)
_STEP = float(_GRID[1] - _GRID[0])
#: A combination's cells are cut into at most 3 parts of like library size, of at least 8 cells:
#: the second-order term below covers the rest of the spread.
_PARTS, _CELLS_OF_PART = 3, 8
#: Exponents to try, on 1,000 genes with at least 30 counts, which is enough for one number.
_EXPONENTS, _TRIED_GENES, _LEAST_COUNTS = np.linspace(0, 1, 5), 1000, 30
#: Gain in nats from which an exponent is believed: odds of 150.
_LEAST_GAIN = 5.0
#: Standard deviations of log theta: of genes about their trend (a factor of 4.5), of categories
#: about their gene and combinations about their category (2.2).
_GENE_SPREAD, _GROUP_SPREAD = 1.5, 0.8
#: Numbers in a surface of likelihoods: 4 MB of float64 stay in cache.
_MOST_AT_ONCE = 2**19
#: The trend has at most 20 levels of at least 50 genes; one gene counts for at most 5 nats.
_LEVELS, _GENES_OF_LEVEL, _MOST_KNOWLEDGE = 20, 50, 5.0


@dataclass(frozen=True)
class Dispersion:
    """Log inverse dispersions, as a sum."""

    gene: Array  # at the typical library size, (n_genes,)
    key: int | None  # the key whose categories differ, or None
    category: Array | None  # addition of each of its categories, (n_categories, n_genes)
    deviation: Array  # addition of each combination, (n_groups, n_genes)
    exponent: float  # addition for each unit of log library size above the typical


@dataclass(frozen=True)
class _Counts:
    """Counts of some genes, with cells in parts of like library size."""

    X: Any  # CSC, (n_cells, n_genes)
    library: Array  # of each cell
    part: NDArray[np.int64]  # of each cell; parts of one combination lie side by side
    group: NDArray[np.int64]  # combination of each part
    log_library: Array  # mean log library size of each part
    spread: Array  # and its variance
    n_cells: NDArray[np.int64]  # of each part
    rate: Array  # (n_groups, n_genes)
    variation: Array  # (n_groups, n_genes)

    def genes(self, which: Any) -> _Counts:
        """Return the counts of some genes."""
        values = vars(self) | {"X": self.X[:, which]}
        return _Counts(**values | {name: values[name][:, which] for name in ("rate", "variation")})


def marginal_dispersion(
    X: Any,
    library: Array,
    group: NDArray[np.int64],
    rate: Array,
    variation: Array,
    typical_library: float,
    categories: NDArray[Any],
    asked: NDArray[np.bool_],
) -> Dispersion:
    """Return the log inverse dispersions of genes, categories and combinations.

    Parameters
    ----------
    X, library, group
        Counts, CSR, ``(n_cells, n_genes)``; total counts and combination of each cell.
    rate, variation
        Mean share of each gene among draws from the prior, and its squared coefficient of
        variation, ``(n_groups, n_genes)``.
    typical_library
        Library size at which the dispersions are given.
    categories
        Category of each combination under each key, ``(n_groups, n_keys)``.
    asked
        Combinations that may differ from their categories, ``(n_groups,)``.
    """
    n_groups, n_genes = rate.shape
    counts = _Counts(X.tocsc(), library, *_parts(library, group, n_groups), rate, variation)
    depth = counts.log_library - np.log(typical_library)
    exponent, key = _choose(counts, depth, categories)
    # sums over combinations: all of them, those of each category, each that was asked for
    belongs = [np.ones((1, n_groups)), np.eye(n_groups)[asked]]
    if key is not None:
        belongs.insert(1, _members(categories[:, key]))
    sums = sparse.csr_matrix(np.concatenate(belongs))
    surfaces = np.empty((sums.shape[0], len(_GRID), n_genes), np.float32)
    step = _genes_at_once(counts)
    for first in range(0, n_genes, step):
        some = counts.genes(slice(first, first + step))
        surface = _by_combination(_log_likelihood(some), some, exponent * depth)
        pooled = (sums @ surface.reshape(n_groups, -1)).reshape(len(surfaces), len(_GRID), -1)
        # only differences matter, and float32 holds them where the highest is 0
        surfaces[:, :, first : first + step] = pooled - pooled.max(axis=1, keepdims=True)
    level = np.log(np.maximum((rate * np.bincount(group, library)[:, None]).sum(0), 1e-9))
    gene = _peak(surfaces[0] + _pull(_trend(surfaces[0], level), _GENE_SPREAD))
    n_categories = 0 if key is None else len(belongs[1])
    category = np.zeros((n_categories, n_genes))
    for c in range(n_categories):
        category[c] = _peak(surfaces[1 + c] + _pull(gene, _GROUP_SPREAD)) - gene
    deviation = np.zeros((n_groups, n_genes))
    for g, own in zip(np.flatnonzero(asked), surfaces[1 + n_categories :], strict=True):
        centre = gene if key is None else gene + category[categories[g, key]]
        deviation[g] = _peak(own + _pull(centre, _GROUP_SPREAD)) - centre
    return Dispersion(gene, key, None if key is None else category, deviation, exponent)


def _pull(centre: Array, spread: float) -> Array:
    """Return the log-density over the grid of a normal law of log theta, up to a constant."""
    return -0.5 * ((_GRID[:, None] - centre) / spread) ** 2


def _members(category: NDArray[Any]) -> Array:
    """Return which combinations belong to each category, 0 or 1, ``(n_categories, n_groups)``."""
    return np.asarray(category[None, :] == np.arange(category.max() + 1)[:, None], np.float64)


def _genes_at_once(counts: _Counts) -> int:
    return max(1, _MOST_AT_ONCE // (len(_GRID) * len(counts.group)))


def _by_combination(marginal: Array, counts: _Counts, deeper: Array) -> Array:
    """Return the surface of each combination net of z, ``(n_groups, grid, genes)``."""
    surface = _net_of_latent(marginal, counts.variation[counts.group], deeper)
    starts = np.flatnonzero(np.diff(counts.group, prepend=-1))
    return np.add.reduceat(surface, starts, axis=0)


def _parts(
    library: Array, group: NDArray[np.int64], n_groups: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, Array, NDArray[np.int64]]:
    """Cut the cells of each combination into parts of like library size.

    Returns the part of each cell; for each part its combination, mean and variance of the log
    library size, and number of cells.
    """
    part = np.empty(len(library), np.int64)
    of: list[int] = []
    for g in range(n_groups):
        cells = np.flatnonzero(group == g)
        cells = cells[np.argsort(library[cells], kind="stable")]
        for some in np.array_split(cells, int(np.clip(len(cells) // _CELLS_OF_PART, 1, _PARTS))):
            part[some] = len(of)
            of.append(g)
    n_cells = np.bincount(part, minlength=len(of))
    log_library = np.log(library)
    mean = np.bincount(part, log_library) / n_cells
    spread = np.bincount(part, (log_library - mean[part]) ** 2) / n_cells
    return part, np.array(of, np.int64), mean, spread, n_cells


def _choose(counts: _Counts, depth: Array, categories: NDArray[Any]) -> tuple[float, int | None]:
    """Return the exponent, and the key whose categories differ most, by the likelihood."""
    total = np.asarray(counts.X.sum(axis=0)).ravel()
    genes = np.flatnonzero(total >= _LEAST_COUNTS)
    genes = genes[np.argsort(total[genes], kind="stable")]
    genes = genes[:: max(1, -(-len(genes) // _TRIED_GENES))]
    members = [_members(category) for category in categories.T]
    scores = np.zeros((len(_EXPONENTS), 1 + len(members)))
    step = _genes_at_once(counts)
    for first in range(0, len(genes), step):
        some = counts.genes(genes[first : first + step])
        marginal = _log_likelihood(some)
        for i, exponent in enumerate(_EXPONENTS):
            surface = _by_combination(marginal, some, exponent * depth)
            together = surface.sum(0)
            scores[i, 0] += together.max(axis=0).sum()
            pull = _pull(_peak(together), _GROUP_SPREAD)
            for column, belongs in enumerate(members, start=1):
                own = np.tensordot(belongs, surface, 1) + pull
                scores[i, column] += own.max(axis=1).sum()
    best = int(scores[:, 0].argmax())
    key = None if not members else int(scores[best, 1:].argmax())
    return _peak_of(scores[:, 0]), key


def _peak_of(scores: Array) -> float:
    """Return the exponent at which a parabola through the best scores has its peak."""
    best = int(scores.argmax())
    if scores[best] - scores[0] < _LEAST_GAIN:
        return 0.0
    if best == len(_EXPONENTS) - 1:
        return float(_EXPONENTS[best])
    left, middle, right = scores[best - 1 : best + 2]
    shift = 0.5 * (left - right) / min(left - 2 * middle + right, -1e-9)
    return float(_EXPONENTS[best] + np.clip(shift, -1, 1) * (_EXPONENTS[1] - _EXPONENTS[0]))


def _log_likelihood(counts: _Counts) -> Array:
    """Return the log-likelihood of each part over the grid, ``(n_parts, grid, genes)``."""
    X, part, group = counts.X, counts.part, counts.group
    n_parts, n_genes = len(group), X.shape[1]
    theta = np.exp(_GRID)
    mean = np.exp(counts.log_library)[:, None] * counts.rate[group]  # (n_parts, genes)
    out = np.empty((n_parts, len(theta), n_genes))
    for k, t in enumerate(theta):
        # the mean of log(1 + mean / theta) over a part, to the second order in its log library
        ratio = mean / t
        bend = 0.5 * counts.spread[:, None] * ratio / (1 + ratio) ** 2
        out[:, k] = -t * counts.n_cells[:, None] * (np.log1p(ratio) + bend)
    x = np.rint(X.data)
    row = X.indices
    column = np.repeat(np.arange(n_genes), np.diff(X.indptr))
    where = part[row] * n_genes + column
    expected = counts.library[row] * counts.rate[group[part[row]], column]
    seen, which = np.unique(x, return_inverse=True)
    for k, t in enumerate(theta):
        terms = (gammaln(seen + t) - gammaln(t))[which] - x * np.log(t + expected)
        found = np.bincount(where, terms, minlength=n_parts * n_genes)
        out[:, k] += found.reshape(n_parts, n_genes)
    return out


def _net_of_latent(marginal: Array, variation: Array, deeper: Array) -> Array:
    """Turn likelihoods over the marginal theta into likelihoods over a gene's theta.

    `marginal` is ``(n_parts, grid, genes)``, `variation` the squared coefficient of variation due
    to z, ``(n_parts, genes)``, `deeper` the log theta of each part less the gene's.
    """
    n_parts, n_grid, n_genes = marginal.shape
    law = np.exp(-_GRID - deeper[:, None])[:, :, None]  # (n_parts, grid, 1)
    inverse = (1 + variation)[:, None] * law
    inverse += variation[:, None]
    place = np.clip(-np.log(inverse), _GRID[0], _GRID[-1])
    place -= _GRID[0]
    place /= _STEP
    nearest = np.clip(np.rint(place), 1, n_grid - 2)
    place -= nearest
    at = nearest.astype(np.int64)
    at += n_grid * np.arange(n_parts)[:, None, None]
    at *= n_genes
    at += np.arange(n_genes)
    # by parabolas: chords lie below a concave surface
    values = marginal.ravel()
    left, middle, right = values[at - n_genes], values[at], values[at + n_genes]
    slope, bend = 0.5 * (right - left), 0.5 * (left - 2 * middle + right)
    return middle + place * (slope + place * bend)


def _peak(surface: Array) -> Array:
    """Return the place of the maximum, refined by a parabola, ``(genes,)``."""
    best = np.clip(surface.argmax(axis=0), 1, len(_GRID) - 2)
    columns = np.arange(surface.shape[1])
    left, middle, right = (surface[best + shift, columns] for shift in (-1, 0, 1))
    curvature = np.minimum(left - 2 * middle + right, -1e-9)
    shift = np.clip(0.5 * (left - right) / curvature, -1, 1)
    return _GRID[best] + shift * _STEP


def _trend(total: Array, level: Array) -> Array:
    """Return log theta smoothed over genes of like level, weighted by their information."""
    best = _peak(total)
    knowledge = total.max(axis=0) - total.min(axis=0)
    order = np.argsort(level, kind="stable")
    parts = np.array_split(order, max(1, min(_LEVELS, len(order) // _GENES_OF_LEVEL)))
    centres, values = [], []
    for part in parts:
        weight = np.minimum(knowledge[part], _MOST_KNOWLEDGE) + 1e-3
        centres.append(level[part].mean())
        values.append((weight * best[part]).sum() / weight.sum())
    return np.interp(level, centres, values)
