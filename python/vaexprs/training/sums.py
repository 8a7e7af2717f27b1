"""Sums over groups of cells, of dense and of sparse values alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["group_sums", "square"]

Array = NDArray[np.float64]


def group_sums(
    X: Any, group: NDArray[np.int64], n_groups: int | None = None, weights: Array | None = None
) -> Array:
    """Sum the rows of each group, weighted, without making a sparse matrix dense."""
    n_groups = int(group.max()) + 1 if n_groups is None else n_groups
    values = np.ones(len(group)) if weights is None else weights
    indicator = sparse.csr_matrix(
        (values, (group, np.arange(len(group)))), shape=(n_groups, len(group))
    )
    total = indicator @ X
    return np.asarray(total if isinstance(total, np.ndarray) else total.toarray(), np.float64)


def square(X: Any) -> Any:
    """Square each value of a dense or sparse matrix, in float64."""
    wide = X.astype(np.float64)
    return wide**2 if isinstance(wide, np.ndarray) else wide.multiply(wide).tocsr()
