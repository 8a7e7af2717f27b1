"""PCA with cross-fitted scores, whose variance matches that of held-out cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse import linalg

from vaexprs.data.matrices.chunked import Chunked

Array = NDArray[np.float64]

#: Most variable genes that components are found in: ten thousand weak genes add mostly noise.
_PCA_GENES = 2000
#: A component counts as signal from this share of signal in its variance: noise is at most about
#: twice the signal.
_LEAST_SIGNAL = 0.35
#: Share of a component's variance in its own cells that new cells show, from which it is kept: the
#: tenth component of 130 cells shows a tenth, and is mostly noise of these cells.
_LEAST_SHOWN = 0.2
#: Square of a number that is zero but for rounding.
_TINY = 1e-300
#: Numbers of folds, and the cells fitted in all folds together, which bounds the time.
_FEWEST_FOLDS, _MOST_FOLDS, _CELLS_OF_ALL_FOLDS = 5, 20, 20_000
#: Side of a matrix up to which the exact decomposition is quicker than the iteration.
_EXACT_UP_TO = 300
#: Rows of a chunk made dense at a time, to bound memory: 32 MB of 2,000 genes.
_ROWS_PER_STEP = 4096


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
    scores: Any  # (n_cells, n_components)
    total: Array  # variance of the scores, (n_components,)
    signal: Array  # the part of it that genes share; the rest is noise of single genes
    loadings: Array  # change of each gene for one deviation of the signal, as `vectors`
    shown: Array  # share of the variance in the cells themselves that new cells show

    def n_signal(self, least: float = _LEAST_SIGNAL) -> int:
        """Return the number of components before the first with a lesser share of signal."""
        noisy = np.flatnonzero(self.signal < least * self.total)
        return int(noisy[0]) if noisy.size else len(self.total)

    def n_shown(self) -> int:
        """Return the number of components before the first that is mostly noise of its cells."""
        noisy = np.flatnonzero(self.shown < _LEAST_SHOWN)
        return max(1, int(noisy[0]) if noisy.size else len(self.shown))

    def first(self, n: int) -> Components:
        """Return the first `n` components."""
        return replace(
            self, vectors=self.vectors[:, :n], scores=self.scores[:, :n], total=self.total[:n],
            signal=self.signal[:n], loadings=self.loadings[:, :n], shown=self.shown[:n],
        )  # fmt: skip


def cross_fit(values: Any, n_components: int, seed: int) -> Components:
    """Return at most `n_components` principal components, with cross-fitted scores.

    The noise of single genes adds up along a component v as ``sum_g v_g^2 psi_g``, as in factor
    analysis, with psi the variance of each gene that the cross-fitted scores leave unexplained.
    """
    if isinstance(values, Chunked):
        return _cross_fit_in_chunks(values, n_components, seed)
    n_cells = len(values) if isinstance(values, np.ndarray) else values.shape[0]
    centre = np.asarray(values.mean(axis=0), np.float64).ravel()
    square = values**2 if isinstance(values, np.ndarray) else values.multiply(values)
    variance = np.asarray(square.mean(axis=0), np.float64).ravel() - centre**2
    used = _variable(variance)
    some = values[:, used]
    n_components = min(n_components, *some.shape)
    found, _, deviation = fit_components(some, n_components, seed)
    scores = _cross_fitted(some, found, centre[used], seed)
    total = np.maximum(scores.var(axis=0), _least_variance(float(deviation[0]) ** 2, centre))
    centred = scores - scores.mean(axis=0)
    cross = np.asarray(values.T @ centred, np.float64) / n_cells  # (G, p)
    covariance = centred.T @ centred / n_cells
    return _components(
        found, used, centre, variance, scores, total, cross, covariance, deviation**2
    )


def _least_variance(largest: float, centre: Array) -> float:
    """Return the variance of a score that is rounding alone, as in cells that are all alike."""
    return 1e-12 * max(largest, float(centre @ centre), 1e-12)


def _variable(variance: Array) -> NDArray[np.int64]:
    """Return the genes that components are found in."""
    return np.sort(np.argsort(-variance, kind="stable")[:_PCA_GENES])


def _components(
    found: Array,
    used: NDArray[np.int64],
    centre: Array,
    variance: Array,
    scores: Any,
    total: Array,
    cross: Array,
    covariance: Array,
    own: Array,
) -> Components:
    """Return components of some genes with what the scores say of the signal in them.

    `cross` is the covariance of genes and scores, `covariance` that of the scores, and `own` the
    variance of the cells' scores by components that have seen them.
    """
    covariance = covariance + 1e-9 * np.diag(total)
    explained = (cross * np.linalg.solve(covariance, cross.T).T).sum(axis=1)
    left = np.maximum(variance - explained, 0)  # noise of each gene
    noise = found.T**2 @ left[used]
    # away from 0 and 1: the posterior's log-variance starts at log(1 - signal / total)
    signal = np.clip(total - noise, 0.02 * total, 0.999 * total)
    loadings = cross / np.sqrt(signal)
    loadings[used] = found * np.sqrt(signal)
    error = left[:, None] * total / len(scores)  # squared standard error of `cross`
    # a loading no larger than the largest of so many noises is left out (Donoho and Johnstone
    # 1994), and larger ones are shrunk by the ratio (the non-negative garrote of Breiman 1995)
    noise_of_all = 2 * np.log(len(cross)) * error
    loadings *= np.maximum(1 - noise_of_all / np.maximum(cross**2, _TINY), 0)
    vectors = np.zeros((len(centre), found.shape[1]))
    vectors[used] = found
    shown = total / np.maximum(own, _TINY)
    return Components(vectors, centre, scores, total, signal, loadings, shown)


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
        scores[outside] = (values[outside] @ found - middle @ found) @ _rotation(found, vectors)
    return scores


def _rotation(found: Array, vectors: Array) -> Array:
    """Return the rotation of some components onto others (orthogonal Procrustes)."""
    left, _, right = np.linalg.svd(found.T @ vectors, full_matrices=False)
    return np.asarray(left @ right)


def _cross_fit_in_chunks(values: Chunked, n_components: int, seed: int) -> Components:
    """Return what `cross_fit` does, in three passes: moments, second moments by fold, scores.

    The eigenvectors of a covariance matrix of at most 2,000 genes take the place of a singular
    value decomposition, whose iterations would each be a pass.
    """
    n_cells = values.shape[0]
    fold = np.random.default_rng(seed).permutation(n_cells) % _FEWEST_FOLDS
    first, second = values.total(lambda _, block: np.stack(_moments(block)))
    centre, variance = first / n_cells, second / n_cells - (first / n_cells) ** 2
    used = _variable(variance)
    n_components = min(n_components, len(used))

    def products(rows: slice, block: Any) -> Array:
        out = np.zeros((_FEWEST_FOLDS, len(used), len(used) + 1))
        for start in range(0, block.shape[0], _ROWS_PER_STEP):
            dense = block[start : start + _ROWS_PER_STEP][:, used]
            dense = dense if isinstance(dense, np.ndarray) else dense.toarray()
            own = fold[rows][start : start + _ROWS_PER_STEP]
            for k in range(_FEWEST_FOLDS):
                part = dense[own == k].astype(np.float32)
                out[k, :, :-1] += part.T @ part
                out[k, :, -1] += part.sum(axis=0, dtype=np.float64)
        return out

    by_fold = values.total(products)
    sizes = np.bincount(fold, minlength=_FEWEST_FOLDS)
    whole = by_fold.sum(axis=0)
    found, _, variances = _leading(whole, n_cells, n_components)
    maps, offsets = [], []
    for k in range(_FEWEST_FOLDS):
        own, middle, _ = _leading(whole - by_fold[k], n_cells - sizes[k], n_components)
        maps.append(own @ _rotation(own, found))
        offsets.append(middle @ maps[-1])
    scores = np.empty((n_cells, n_components), np.float32)
    stacked, offset = np.concatenate(maps, axis=1), np.stack(offsets)

    def scored(rows: slice, block: Any) -> Array:
        every = np.asarray(block[:, used] @ stacked).reshape(-1, _FEWEST_FOLDS, n_components)
        own = every[np.arange(len(every)), fold[rows]] - offset[fold[rows]]
        scores[rows] = own
        sums = np.concatenate([own.T @ own, own.sum(axis=0)[None]])  # (p + 1, p)
        return np.concatenate([np.asarray(block.T @ own, np.float64), sums])

    sums = values.total(scored) / n_cells
    mean = sums[-1]
    cross = sums[: len(centre)] - np.outer(centre, mean)
    covariance = sums[len(centre) : -1] - np.outer(mean, mean)
    total = np.maximum(np.diag(covariance), _least_variance(float(variances[0]), centre))
    return _components(found, used, centre, variance, scores, total, cross, covariance, variances)


def _moments(block: Any) -> tuple[Array, Array]:
    """Return the sums of the values of each gene, and of their squares."""
    wide = block.astype(np.float64)
    square = wide**2 if isinstance(wide, np.ndarray) else wide.multiply(wide)
    return np.asarray(wide.sum(axis=0)).ravel(), np.asarray(square.sum(axis=0)).ravel()


def _leading(products: Array, n_cells: int, n: int) -> tuple[Array, Array, Array]:
    """Return components, centre and variances from sums of products and, last, of values."""
    centre = products[:, -1] / n_cells
    covariance = products[:, :-1] / n_cells - np.outer(centre, centre)
    size = len(covariance)
    values, vectors = eigh(covariance, subset_by_index=[size - n, size - 1])
    values, vectors = values[::-1], vectors[:, ::-1]
    sign = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(n)])
    return vectors * sign, centre, values
