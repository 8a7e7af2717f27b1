"""Sums over groups of cells, dense or sparse."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from vaexprs.data.matrices.chunked import Chunked

Array = NDArray[np.float64]


def group_sums(
    X: Any, group: NDArray[np.int64], n_groups: int | None = None, weights: Array | None = None
) -> Array:
    """Return the weighted sum of the rows of each group, ``(n_groups, n_genes)``.

    A sparse matrix is not made dense.
    """
    n_groups = int(group.max()) + 1 if n_groups is None else n_groups
    values = np.ones(len(group)) if weights is None else weights
    if isinstance(X, Chunked):
        of_chunk = partial(_group_sums, group, n_groups, values)
        return np.asarray(X.total(of_chunk))
    return _group_sums(group, n_groups, values, slice(None), X)


def _group_sums(
    group: NDArray[np.int64], n_groups: int, weights: Array, rows: slice, X: Any
) -> Array:
    group, values = group[rows], weights[rows]
    indicator = sparse.csr_matrix(
        (values, (group, np.arange(len(group)))), shape=(n_groups, len(group))
    )
    total = indicator @ X
    return np.asarray(total if isinstance(total, np.ndarray) else total.toarray(), np.float64)


def square(X: Any) -> Any:
    """Return the square of each value, in float64, sparse where `X` is sparse."""
    if isinstance(X, Chunked):
        return X.map(square)
    wide = X.astype(np.float64)
    return wide**2 if isinstance(wide, np.ndarray) else wide.multiply(wide).tocsr()


def column_means(X: Any) -> Array:
    """Return the mean of each gene, ``(n_genes,)``."""
    return np.asarray(X.mean(axis=0, dtype=np.float64)).ravel()


def column_extremes(X: Any) -> tuple[Any, Any]:
    """Return the smallest and the largest value of each gene, ``(n_genes,)`` each."""
    if isinstance(X, Chunked):
        lows, highs = zip(*(column_extremes(block) for _, block in X.chunks()), strict=True)
        return np.min(lows, axis=0), np.max(highs, axis=0)
    low, high = X.min(axis=0), X.max(axis=0)
    return (low, high) if isinstance(X, np.ndarray) else (low.toarray()[0], high.toarray()[0])


def largest_values(X: Any, n: int) -> Array:
    """Return the n largest values of each gene, at least 0, in rising order, ``(n, n_genes)``."""
    if isinstance(X, Chunked):
        top = np.zeros((n, X.shape[1]))
        for _, block in X.chunks():
            top = np.sort(np.concatenate([top, largest_values(block, n)]), axis=0)[-n:]
        return top
    by_gene = sparse.csc_matrix(X)
    top = np.zeros((n, by_gene.shape[1]))
    for gene in np.flatnonzero(np.diff(by_gene.indptr)):
        values = by_gene.data[by_gene.indptr[gene] : by_gene.indptr[gene + 1]]
        values = np.sort(values)[-n:]
        top[n - len(values) :, gene] = values
    return top


def group_centred(values: Array, group: NDArray[np.int64]) -> Array:
    """Return values less the mean of their group, of the same shape."""
    columns = values.reshape(len(values), -1).T
    n = np.maximum(np.bincount(group), 1)
    means = np.stack([np.bincount(group, column) / n for column in columns], axis=1)
    return values - means[group].reshape(values.shape)
