"""Shapes of gamma laws by maximum likelihood, for each gene."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["gamma_dispersion"]

Array = NDArray[np.float64]

#: Bounds of the shape.
_LOW, _HIGH = 0.02, 1000.0


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
    return np.asarray(np.clip(-np.log(inverse), np.log(_LOW), np.log(_HIGH)))
