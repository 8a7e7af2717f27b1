"""Principal components of few cells, and scores as honest as those of new cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import require

__all__ = ["Components", "cross_fit", "fit_components"]

#: Components are found in so many of the most variable genes.
_PCA_GENES = 2000
#: Least share of signal in the variance of a component that tells something.
_TELLING = 0.35
#: Scores are cross-fitted in so many folds, more of them where cells are few.
_FEWEST_FOLDS, _MOST_FOLDS, _CELLS_BY_FOLDS = 5, 20, 20_000
#: Largest side of a matrix whose components are found exactly rather than by iteration.
_EXACT_UP_TO = 300


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


@dataclass(frozen=True)
class Components:
    """Principal components of cells, with scores that are as honest as those of new cells.

    Components found in a few hundred cells fit their noise as well: beyond the first ten the
    variance of the cells' own scores is two to four times that of new cells. So each cell's
    scores are computed from components found without it (in the other folds, rotated onto the
    components of all cells), which agrees with new cells to a few percent.

    They are found in the most variable genes: ten thousand weak ones add little but their noise.

    Attributes
    ----------
    vectors
        Of all cells, ``(n_genes, n_components)``; zeros for genes in which none were sought.
    centre
        Means of all genes, ``(n_genes,)``.
    scores
        Cross-fitted scores of the cells, ``(n_cells, n_components)``.
    total
        Variance of the cross-fitted scores, ``(n_components,)``.
    signal
        Its part that genes share, as opposed to noise of single genes, ``(n_components,)``.
    loadings
        By how much the signal of each component, at unit variance, moves each gene,
        ``(n_genes, n_components)``.
    """

    vectors: NDArray[np.float64]
    centre: NDArray[np.float64]
    scores: NDArray[np.float64]
    total: NDArray[np.float64]
    signal: NDArray[np.float64]
    loadings: NDArray[np.float64]

    def n_telling(self) -> int:
        """Return how many components come before the first that is mostly noise."""
        noisy = np.flatnonzero(self.signal < _TELLING * self.total)
        return int(noisy[0]) if noisy.size else len(self.total)

    def first(self, n: int) -> Components:
        """Return the first `n` components."""
        return replace(
            self,
            vectors=self.vectors[:, :n],
            scores=self.scores[:, :n],
            total=self.total[:n],
            signal=self.signal[:n],
            loadings=self.loadings[:, :n],
        )


def cross_fit(values: Any, n_components: int, seed: int) -> Components:
    """Find principal components and cross-fitted scores; see `Components`.

    The share of a score's variance that is signal follows from what is left of each gene when
    the cross-fitted scores have explained what they can: noise of single genes adds up along a
    component as ``sum_g v_g^2 psi_g``, as in factor analysis.

    Parameters
    ----------
    values
        Cells on the scale of the comparison, sparse or dense, ``(n_cells, n_genes)``.
    n_components
        How many to find, at most.
    seed
        Of folds and starting vectors.
    """
    n_cells, n_genes = values.shape
    centre = np.asarray(values.mean(axis=0), np.float64).ravel()
    square = values**2 if isinstance(values, np.ndarray) else values.multiply(values)
    variance = np.asarray(square.mean(axis=0), np.float64).ravel() - centre**2
    sought = np.sort(np.argsort(-variance, kind="stable")[:_PCA_GENES])
    some = values[:, sought]
    n_components = min(n_components, *some.shape)
    found, _, deviation = fit_components(some, n_components, seed)
    scores = _cross_fitted(some, found, centre[sought], seed)
    total = np.maximum(scores.var(axis=0), 1e-12 * max(float(deviation[0]) ** 2, 1e-12))

    centred = scores - scores.mean(axis=0)
    cross = np.asarray(values.T @ centred, np.float64) / n_cells  # (G, p)
    covariance = centred.T @ centred / n_cells + 1e-9 * np.diag(total)
    explained = (cross[sought] * np.linalg.solve(covariance, cross[sought].T).T).sum(axis=1)
    noise = found.T**2 @ np.maximum(variance[sought] - explained, 0)
    signal = np.clip(total - noise, 0.02 * total, 0.999 * total)
    loadings = cross / np.sqrt(signal)
    loadings[sought] = found * np.sqrt(signal)
    vectors = np.zeros((n_genes, found.shape[1]))
    vectors[sought] = found
    return Components(vectors, centre, scores, total, signal, loadings)


def _cross_fitted(
    values: Any, vectors: NDArray[np.float64], centre: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """Score each cell along components found without it, rotated onto those of all cells.

    Returns scores, ``(n_cells, n_components)``; the cells' own where there are fewer than ten.
    """
    n_cells = values.shape[0]
    scores = np.asarray(values @ vectors - centre @ vectors)
    n_folds = int(np.clip(_CELLS_BY_FOLDS // n_cells, _FEWEST_FOLDS, _MOST_FOLDS))
    n_folds = min(n_folds, n_cells // 2)
    if n_folds < _FEWEST_FOLDS:
        return scores
    fold = np.random.default_rng(seed).permutation(n_cells) % n_folds
    for k in range(n_folds):
        inside, outside = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        most = min(vectors.shape[1], len(inside) - 1)
        found, middle, _ = fit_components(values[inside], most, seed)
        left, _, right = np.linalg.svd(found.T @ vectors, full_matrices=False)
        scores[outside] = (values[outside] @ found - middle @ found) @ (left @ right)
    return scores
