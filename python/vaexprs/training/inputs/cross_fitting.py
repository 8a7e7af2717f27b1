"""PCA with cross-fitted scores, whose variance matches that of held-out cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import linalg

__all__ = ["Components", "cross_fit", "fit_components"]

Array = NDArray[np.float64]

#: Most variable genes that components are found in: ten thousand weak genes add mostly noise.
_PCA_GENES = 2000
#: A component counts as signal from this share of signal in its variance: noise is at most about
#: twice the signal.
_LEAST_SIGNAL = 0.35
#: Numbers of folds, and the cells fitted in all folds together, which bounds the time.
_FEWEST_FOLDS, _MOST_FOLDS, _CELLS_OF_ALL_FOLDS = 5, 20, 20_000
#: Side of a matrix up to which the exact decomposition is quicker than the iteration.
_EXACT_UP_TO = 300


def fit_components(values: Any, n_components: int, seed: int) -> tuple[Array, Array, Array]:
    """Return principal components of cells, sparse or dense, without centring them in memory.

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
    """Principal components with cross-fitted scores.

    Components of a few hundred cells fit their noise as well: beyond the first ten, the variance
    of the cells' own scores is two to four times that of new cells. So each cell is scored by
    components of the other folds, rotated onto those of all cells. The variance of these scores
    agrees with that of new cells to a few percent.
    """

    vectors: Array  # of all cells, (n_genes, n_components); zeros for genes left out
    centre: Array  # means of all genes, (n_genes,)
    scores: Array  # (n_cells, n_components)
    total: Array  # variance of the scores, (n_components,)
    signal: Array  # the part of it that genes share; the rest is noise of single genes
    loadings: Array  # change of each gene for one deviation of the signal, as `vectors`

    def n_signal(self, least: float = _LEAST_SIGNAL) -> int:
        """Return the number of components before the first with a lesser share of signal."""
        noisy = np.flatnonzero(self.signal < least * self.total)
        return int(noisy[0]) if noisy.size else len(self.total)

    def first(self, n: int) -> Components:
        """Return the first `n` components."""
        return replace(
            self, vectors=self.vectors[:, :n], scores=self.scores[:, :n], total=self.total[:n],
            signal=self.signal[:n], loadings=self.loadings[:, :n],
        )  # fmt: skip


def cross_fit(values: Any, n_components: int, seed: int) -> Components:
    """Return at most `n_components` principal components, with cross-fitted scores.

    The noise of single genes adds up along a component v as ``sum_g v_g^2 psi_g``, as in factor
    analysis, with psi the variance of each gene that the cross-fitted scores leave unexplained.
    """
    n_cells, n_genes = values.shape
    centre = np.asarray(values.mean(axis=0), np.float64).ravel()
    square = values**2 if isinstance(values, np.ndarray) else values.multiply(values)
    variance = np.asarray(square.mean(axis=0), np.float64).ravel() - centre**2
    used = np.sort(np.argsort(-variance, kind="stable")[:_PCA_GENES])
    some = values[:, used]
    n_components = min(n_components, *some.shape)
    found, _, deviation = fit_components(some, n_components, seed)
    scores = _cross_fitted(some, found, centre[used], seed)
    total = np.maximum(scores.var(axis=0), 1e-12 * max(float(deviation[0]) ** 2, 1e-12))

    centred = scores - scores.mean(axis=0)
    cross = np.asarray(values.T @ centred, np.float64) / n_cells  # (G, p)
    covariance = centred.T @ centred / n_cells + 1e-9 * np.diag(total)
    explained = (cross[used] * np.linalg.solve(covariance, cross[used].T).T).sum(axis=1)
    noise = found.T**2 @ np.maximum(variance[used] - explained, 0)
    # away from 0 and 1: the posterior's log-variance starts at log(1 - signal / total)
    signal = np.clip(total - noise, 0.02 * total, 0.999 * total)
    loadings = cross / np.sqrt(signal)
    loadings[used] = found * np.sqrt(signal)
    vectors = np.zeros((n_genes, found.shape[1]))
    vectors[used] = found
    return Components(vectors, centre, scores, total, signal, loadings)


def _cross_fitted(values: Any, vectors: Array, centre: Array, seed: int) -> Array:
    """Return scores by components of the other folds, rotated onto `vectors`.

    Fewer than ten cells keep their own scores.
    """
    n_cells = values.shape[0]
    scores = np.asarray(values @ vectors - centre @ vectors)
    n_folds = int(np.clip(_CELLS_OF_ALL_FOLDS // n_cells, _FEWEST_FOLDS, _MOST_FOLDS))
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
