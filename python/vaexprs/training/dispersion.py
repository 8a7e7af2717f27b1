r"""Dispersions by marginal maximum likelihood, for each gene and each combination of categories.

Within a combination a gene's counts vary because z does and because its law does. Draws from the
prior tell the first, as the squared coefficient of variation ``k`` of the gene's share of the
counts; the marginal law is then close to a negative binomial with

.. math:: 1 / \theta_{marginal} = k + (1 + k) / \theta,

the square of the coefficient of variation of a product. The likelihood of the training counts
under it is computed on a grid of :math:`\theta`, pooled over combinations with a prior around the
trend over all genes, then each combination may differ from its gene as far as its own counts say.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["gamma_dispersion", "marginal_dispersion"]

Array = NDArray[np.float64]

_GRID = np.linspace(np.log(0.02), np.log(1000.0), 28)
_LIBRARY_BINS = 8
#: Standard deviations of log theta: of genes round their trend, of combinations round their gene.
_GENE_SPREAD, _GROUP_SPREAD = 1.5, 0.8
_CHUNK = 4096


def marginal_dispersion(
    X: Any, library: Array, group: NDArray[np.int64], rate: Array, variation: Array
) -> tuple[Array, Array]:
    """Fit the log inverse dispersion of each gene and of each gene in each combination.

    Parameters
    ----------
    X
        Counts, CSR, ``(n_cells, n_genes)``.
    library, group
        Total counts and combination of each cell.
    rate
        Mean share of each gene in each combination, ``(n_groups, n_genes)``.
    variation
        Squared coefficient of variation of that share among draws from the prior.

    Returns
    -------
    gene : ``(n_genes,)``
    deviation : ``(n_groups, n_genes)``, what each combination adds
    """
    n_groups, n_genes = rate.shape
    gene, deviation = np.zeros(n_genes), np.zeros((n_groups, n_genes))
    by_gene = X.tocsc()
    bins = [_library_bins(library[group == g]) for g in range(n_groups)]
    pooled, parts = [], []
    for first in range(0, n_genes, _CHUNK):
        genes = slice(first, min(first + _CHUNK, n_genes))
        part = _log_likelihood(by_gene[:, genes], library, group, rate[:, genes], bins)
        part = _net_of_latent(part, variation[:, genes])
        parts.append(part.astype(np.float32))
        pooled.append(part.sum(0))
    total = np.concatenate(pooled, axis=1)  # (grid, G)
    level = np.log(np.maximum((rate * np.bincount(group, library)[:, None]).sum(0), 1e-9))
    trend = _trend(total, level)
    prior = -0.5 * ((_GRID[:, None] - trend) / _GENE_SPREAD) ** 2
    gene = _peak(total + prior)
    for index, first in enumerate(range(0, n_genes, _CHUNK)):
        genes = slice(first, min(first + _CHUNK, n_genes))
        pull = -0.5 * ((_GRID[:, None] - gene[genes]) / _GROUP_SPREAD) ** 2
        for g in range(n_groups):
            deviation[g, genes] = _peak(parts[index][g] + pull) - gene[genes]
    return gene, deviation


def _library_bins(library: Array) -> tuple[Array, Array]:
    """Summarise the library sizes of a combination by a few values and how often they occur."""
    parts = np.array_split(np.sort(library), min(_LIBRARY_BINS, len(library)))
    return np.array([part.mean() for part in parts]), np.array([len(part) for part in parts])


def _log_likelihood(
    X: Any, library: Array, group: NDArray[np.int64], rate: Array, bins: list[tuple[Array, Array]]
) -> Array:
    """Negative binomial log-likelihood over the grid, ``(n_groups, grid, genes)``."""
    n_groups, n_genes = rate.shape
    theta = np.exp(_GRID)
    out = np.zeros((n_groups, len(theta), n_genes))
    for g, (values, counts) in enumerate(bins):
        for value, count in zip(values, counts, strict=True):
            out[g] -= count * theta[:, None] * np.log1p(value * rate[g] / theta[:, None])
    x = np.rint(X.data).astype(np.int64)
    row = X.indices
    column = np.repeat(np.arange(n_genes), np.diff(X.indptr))
    where = group[row] * n_genes + column
    mean = library[row] * rate[group[row], column]
    for k, t in enumerate(theta):
        # log Gamma(x + theta) - log Gamma(theta) = sum over m < x of log(theta + m)
        rising = np.concatenate([[0.0], np.cumsum(np.log(t + np.arange(x.max(initial=0))))])
        terms = rising[x] - x * np.log(t + mean)
        out[:, k] += np.bincount(where, terms, minlength=n_groups * n_genes).reshape(
            n_groups, n_genes
        )
    return out


def _net_of_latent(marginal: Array, variation: Array) -> Array:
    """Turn likelihoods over the marginal theta into ones over the theta net of z's variation."""
    inverse = variation[:, None, :] + (1 + variation[:, None, :]) * np.exp(-_GRID)[:, None]
    place = np.clip(-np.log(inverse), _GRID[0], _GRID[-1])
    place = (place - _GRID[0]) / (_GRID[1] - _GRID[0])
    low = np.minimum(place.astype(np.int64), len(_GRID) - 2)
    share = place - low
    below = np.take_along_axis(marginal, low, axis=1)
    above = np.take_along_axis(marginal, low + 1, axis=1)
    return np.asarray((1 - share) * below + share * above)


def _peak(surface: Array) -> Array:
    """Find the maximum over the grid, refined by a parabola, ``(genes,)``."""
    best = np.clip(surface.argmax(axis=0), 1, len(_GRID) - 2)
    columns = np.arange(surface.shape[1])
    left, middle, right = (surface[best + shift, columns] for shift in (-1, 0, 1))
    curvature = np.minimum(left - 2 * middle + right, -1e-9)
    shift = np.clip(0.5 * (left - right) / curvature, -1, 1)
    return np.asarray(_GRID[best] + shift * (_GRID[1] - _GRID[0]))


def _trend(total: Array, level: Array) -> Array:
    """Smooth log theta over genes of similar counts, each weighted by what it knows."""
    best = _peak(total)
    knowledge = total.max(axis=0) - total.min(axis=0)
    order = np.argsort(level, kind="stable")
    parts = np.array_split(order, max(1, min(20, len(order) // 50)))
    centres, values = [], []
    for part in parts:
        weight = np.minimum(knowledge[part], 5.0) + 1e-3
        centres.append(level[part].mean())
        values.append((weight * best[part]).sum() / weight.sum())
    return np.asarray(np.interp(level, centres, values))


def gamma_dispersion(X: Any, group: NDArray[np.int64], n_groups: int, variation: Array) -> Array:
    r"""Fit the log inverse dispersion of each gene's positive values, net of z's variation.

    For a gamma law of shape :math:`\theta`, the logarithm of the mean exceeds the mean of the
    logarithms by :math:`s = \log \theta - \psi(\theta)`; the inverse is Minka's (2002)
    approximation of the maximum-likelihood shape. ``s`` is pooled over groups and pulled to the
    trend over genes of similar mean.
    """
    n_genes = X.shape[1]
    coo = sparse.coo_matrix(X)
    positive = coo.data > 0
    where = group[coo.row[positive]] * n_genes + coo.col[positive]
    value = coo.data[positive].astype(np.float64)
    shape, size = (n_groups, n_genes), n_groups * n_genes
    n = np.bincount(where, minlength=size).reshape(shape)
    mean = np.bincount(where, value, minlength=size).reshape(shape) / np.maximum(n, 1)
    logs = np.bincount(where, np.log(value), minlength=size).reshape(shape) / np.maximum(n, 1)
    gap = np.where(n > 1, np.log(np.maximum(mean, 1e-30)) - logs, 0)
    # the gap of n values is short of that of the law by about the part n - 1 of n
    knowledge = np.where(n > 1, n - 1.0, 0).sum(0)
    total = (n * gap).sum(0)
    level = (n * mean).sum(0) / np.maximum(n.sum(0), 1)
    order = np.argsort(level, kind="stable")
    trend = np.empty(n_genes)
    for part in np.array_split(order, max(1, min(20, n_genes // 50))):
        trend[part] = total[part].sum() / max(knowledge[part].sum(), 1.0)
    trend = np.maximum(trend, 1e-3)
    s = np.maximum((total + 4 * trend) / (knowledge + 4), 1e-4)
    marginal = (3 - s + np.sqrt((s - 3) ** 2 + 24 * s)) / (12 * s)
    weight = n / np.maximum(n.sum(0), 1)
    latent = (weight * variation).sum(0)
    inverse = np.maximum((1 / marginal - latent) / (1 + latent), 1e-3)
    return np.asarray(np.clip(-np.log(inverse), _GRID[0], _GRID[-1]))
