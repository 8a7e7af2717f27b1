"""What the encoder sees of the cells: transformed values, or their principal-component scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vaexprs.data import ExpressionData
from vaexprs.errors import require
from vaexprs.spec import COUNT_LIKELIHOODS, Likelihood

__all__ = ["Features", "fit_components"]

#: Counts are put on this scale before the logarithm, as the field does.
TARGET_LIBRARY = 1e4
#: Largest side of a matrix whose components are found exactly rather than by iteration.
_EXACT_UP_TO = 300

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """A fixed map from expression values to the encoder's input.

    ``f(x) * gene_scale``, then, where there are `components`, scores of unit variance:
    ``(f(x) * gene_scale - centre) @ components / score_scale``.

    Attributes
    ----------
    kind
        ``"log_normalised"``: log1p of counts per 10,000; ``"log1p"``; or ``"identity"``.
    gene_scale, gene_shift
        ``(n_genes,)``; the shift is subtracted before the scale (dense input only).
    components
        ``(n_genes, n_components)``, or None where the encoder reads the genes themselves.
    offset
        Scores of the mean cell, ``(n_components,)``.
    score_scale
        Standard deviation of each score over the training cells, ``(n_components,)``.
    """

    kind: Literal["log_normalised", "log1p", "identity"]
    gene_shift: Array
    gene_scale: Array
    components: Array | None = None
    offset: Array | None = None
    score_scale: Array | None = None

    @property
    def n_inputs(self) -> int:
        """Width of what the encoder reads."""
        return len(self.gene_scale) if self.components is None else self.components.shape[1]

    def transform(self, X: Any) -> Any:
        """Apply ``f`` alone, keeping sparse what is sparse."""
        if self.kind == "identity":
            return X
        factor = 1.0
        if self.kind == "log_normalised":
            total = np.asarray(X.sum(axis=1)).reshape(-1, 1)
            factor = (TARGET_LIBRARY / np.maximum(total, 1e-12)).astype(np.float32)
        if isinstance(X, np.ndarray):
            return np.log1p(X * factor)
        out = X.copy()
        if self.kind == "log_normalised":
            out.data *= np.repeat(factor.ravel(), np.diff(X.indptr))
        np.log1p(out.data, out=out.data)
        return out

    def inputs(self, X: Any) -> Array:
        """Return what the encoder reads of these cells, dense, ``(n_cells, n_inputs)``."""
        values = self.transform(X)
        if self.components is None:
            dense = values if isinstance(values, np.ndarray) else values.toarray()
            return np.asarray((dense - self.gene_shift) * self.gene_scale, dtype=np.float32)
        assert self.offset is not None and self.score_scale is not None
        scores = values @ (self.components * self.gene_scale[:, None]) - self.offset
        return np.asarray(scores / self.score_scale, dtype=np.float32)


def feature_kind(
    data: ExpressionData, likelihood: Likelihood
) -> Literal["log_normalised", "log1p", "identity"]:
    """Choose the transformation: counts and linear scales are logged, logged ones are not."""
    if likelihood in COUNT_LIKELIHOODS:
        return "log_normalised"
    if likelihood == "zigamma" and data.maximum > 30:
        return "log1p"
    return "identity"


def fit_components(
    values: Any, n_components: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Find the principal components of cells without centring a sparse matrix in memory.

    Parameters
    ----------
    values
        Cells x genes, sparse or dense.
    n_components
        How many to find, less than both sides.
    seed
        Of the starting vector of the iteration.

    Returns
    -------
    components
        ``(n_genes, n_components)``, orthonormal, the strongest first, the largest entry of each
        positive.
    centre
        Means of the genes, ``(n_genes,)``.
    deviation
        Standard deviation of the cells' scores, ``(n_components,)``.
    """
    linalg = require("scipy.sparse.linalg", extra="train", purpose="Training")
    n_cells, n_genes = values.shape
    centre = np.asarray(values.mean(axis=0), dtype=np.float64).ravel()
    if min(n_cells, n_genes) <= _EXACT_UP_TO or n_components > min(n_cells, n_genes) // 3:
        dense = values if isinstance(values, np.ndarray) else values.toarray()
        _, singular, right = np.linalg.svd(dense - centre, full_matrices=False)
        singular, right = singular[:n_components], right[:n_components]
    else:
        wide = values.astype(np.float64)
        operator = linalg.LinearOperator(
            shape=values.shape,
            dtype=np.float64,
            matvec=lambda v: wide @ v.ravel() - centre @ v.ravel(),
            rmatvec=lambda u: wide.T @ u.ravel() - centre * u.sum(),
        )
        start = np.random.default_rng(seed).standard_normal(min(values.shape))
        _, singular, right = linalg.svds(operator, k=n_components, v0=start)
        order = np.argsort(-singular)
        singular, right = singular[order], right[order]
    largest = np.abs(right).argmax(axis=1)
    sign = np.sign(right[np.arange(len(right)), largest])
    return (right * sign[:, None]).T, centre, singular / np.sqrt(max(n_cells - 1, 1))
