"""Statistics and digests of dense arrays and sparse matrices; limits of threads."""

from __future__ import annotations

import functools
import hashlib
import math
import threading
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np
import scipy.sparse as sp
import sklearn.neighbors  # noqa: F401 - loads the libraries that `one_thread` limits
import threadpoolctl  # type: ignore[import-untyped]
from numpy.typing import NDArray

#: Cells by genes: a NumPy array or a SciPy sparse matrix.
Matrix: TypeAlias = Any
Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float64]

_CONTROLLER = threadpoolctl.ThreadpoolController()
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def one_thread(compute: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that BLAS and OpenMP run on one thread in it.

    On matrices of a thousand cells more threads mostly wait: for each other, and for other
    processes on a busy machine.
    """

    @functools.wraps(compute)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        with _CONTROLLER.limit(limits=1):
            return compute(*args, **kwargs)

    return limited


def in_threads(compute: Callable[[T], R], items: Iterable[T], n_threads: int) -> list[R]:
    """Return ``compute`` of each item, in order; each of the threads takes an item at a time."""
    limited = one_thread(compute)
    if n_threads < 2:
        return [limited(item) for item in items]
    with _silence, ThreadPoolExecutor(n_threads) as workers:
        return list(workers.map(limited, items))


class _Silence:
    """Shows no warnings while any of its blocks is on.

    scikit-learn swaps the warning filters of the whole process in each thread, and warns of what
    other threads left there. All is put back when the last block ends.
    """

    def __init__(self) -> None:
        self._lock, self._n_on, self._kept = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._n_on == 0:
                self._kept.enter_context(warnings.catch_warnings())
                warnings.showwarning = lambda *_, **__: None
            self._n_on += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._n_on -= 1
            if self._n_on == 0:
                self._kept.close()


_silence = _Silence()


def dense(X: Matrix) -> Array:
    """Return ``X`` as a C-contiguous dense array, float32."""
    return np.ascontiguousarray(X.toarray() if sp.issparse(X) else X, dtype=np.float32)


def mean_variance(X: Matrix) -> tuple[Floats, Floats]:
    """Return the mean and the unbiased variance of each column, ``(n_genes,)`` each, float64.

    The variance of a single row is zero.
    """
    n_cells = X.shape[0]
    if sp.issparse(X):
        mean = np.asarray(X.sum(axis=0, dtype=np.float64)).ravel() / n_cells
        squares = X.astype(np.float64)
        squares.data **= 2
        square = np.asarray(squares.sum(axis=0)).ravel() / n_cells
        variance = np.maximum(square - mean**2, 0.0) * n_cells / max(n_cells - 1, 1)
        return mean, variance
    X = np.asarray(X)
    mean = X.mean(axis=0, dtype=np.float64)
    if n_cells < 2:
        return mean, np.zeros_like(mean)
    return mean, X.var(axis=0, ddof=1, dtype=np.float64)


def nonzero_share(X: Matrix) -> Floats:
    """Return the share of cells in which each gene is not zero, ``(n_genes,)``."""
    if sp.issparse(X):
        X = X.tocsr()
        counts = np.bincount(X.indices[X.data != 0], minlength=X.shape[1])
    else:
        counts = np.count_nonzero(X, axis=0)
    return np.asarray(counts / float(X.shape[0]), dtype=np.float64)


def pearson(a: Floats, b: Floats) -> float:
    """Return the Pearson correlation; nan where one side is constant."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def column_maximum(X: Matrix) -> Floats:
    """Return the largest value of each column, ``(n_genes,)``."""
    if sp.issparse(X):
        return np.asarray(X.max(axis=0).toarray(), dtype=np.float64).ravel()
    return np.asarray(np.max(X, axis=0), dtype=np.float64)


def fingerprints(X: Matrix) -> Array:
    """Return a digest of each cell's values, ``(n_cells,)``, equal for equal cells only.

    Values are taken as float32, which is what generated cells are stored as.
    """
    rows = sp.csr_matrix(X, dtype=np.float32, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    rows.sort_indices()
    digests = []
    for start, stop in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
        digest = hashlib.blake2b(rows.indices[start:stop].astype("<i8").tobytes(), digest_size=16)
        digest.update(rows.data[start:stop].astype("<f4").tobytes())
        digests.append(digest.digest())
    return np.array(digests, dtype="S16")
