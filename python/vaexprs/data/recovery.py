"""Counts recovered from normalised values.

Values made from counts lie on a lattice. With ``s`` the sum that cells were scaled to and ``n``
the counts of a cell, each value is ``k s / n`` or a logarithm of it, for a whole number k. The
smallest value of a cell gives the step ``s / n``. The two smallest give the base of a logarithm:
they belong to the counts 1 and 2 in most cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from vaexprs.data.expression import ExpressionData
from vaexprs.data.matrices.chunked import Chunked
from vaexprs.errors import DataError
from vaexprs.spec.normalisation import Normalisation

Array = NDArray[np.float64]

#: Cells on which a lattice is looked for before all are read.
_TRIED_CELLS = 200
#: Values that must lie on the lattice before it is believed: 60 at random would, once in 1e60.
_LEAST_VALUES = 60
#: Distance of a value from its lattice point, in steps, that rounding explains: a float32 value is
#: off by 6e-8 of itself, and values were rounded a few times on their way.
_ROUNDING, _OFF = 4e-6, 2e-3
#: Smallest count of a cell, up to which it is tried.
_LARGEST_SMALLEST = 4
#: Largest share of values that are not zero, in data without a pseudocount.
_LARGEST_FILLED = 0.98
#: Relative deviation of sums over cells that is rounding.
_SAME_SUM = 1e-4
#: Bases that are written as they are meant, within the error of their estimate.
_USUAL_BASES = (math.e, 2.0, 10.0)


def recover_counts(X: Any) -> tuple[Any, Normalisation] | None:
    """Return the counts that values were made from, and the map back; None if there are none.

    Values are CSR, dense or either in chunks; counts are whole numbers, CSR float32, in chunks if
    given so.
    """
    if isinstance(X, Chunked):
        return _recover_in_chunks(X.map(sparse.csr_matrix))
    X = sparse.csr_matrix(X)
    filled = np.flatnonzero(np.diff(X.indptr) > 0)
    if not filled.size:
        return None
    tried = X[filled[:: max(1, len(filled) // _TRIED_CELLS)]]
    for log_base, pseudocount, linear in _hypotheses(tried):
        if _on_lattice(tried, linear) is None:
            continue
        found = _on_lattice(X, linear)
        if found is not None:
            counts, step = found
            return counts, _normalisation(_totals(counts), step, log_base, pseudocount)
    return None


def _recover_in_chunks(X: Chunked) -> tuple[Chunked, Normalisation] | None:
    tried = X[np.arange(0, X.shape[0], max(1, X.shape[0] // _TRIED_CELLS))]
    tried = tried[np.diff(tried.indptr) > 0]
    if not tried.shape[0]:
        return None
    for log_base, pseudocount, linear in _hypotheses(tried):
        if _on_lattice(tried, linear) is None:
            continue
        parts = []
        for _, block in X.chunks():
            found = _on_lattice(block, linear, least=0)
            if found is None:
                break
            parts.append((_totals(found[0]), found[1]))
        else:
            total, step = (np.concatenate(both) for both in zip(*parts, strict=True))
            counts = X.map(partial(_counts_on, linear))
            return counts, _normalisation(total, step, log_base, pseudocount)
    return None


def _counts_on(linear: Callable[[Array], Array], X: Any) -> Any:
    """Return the counts of rows that are known to lie on a lattice."""
    found = _on_lattice(X, linear, least=0)
    assert found is not None
    return found[0]


def with_counts(data: ExpressionData) -> tuple[ExpressionData, Normalisation] | None:
    """Return the same cells with the counts that their values were made from; None if none were."""
    found = None if data.is_integer else recover_counts(data.X)
    if found is None or found[0].max() <= 1:
        return None
    counts, normalisation = found
    return replace(data, X=counts, source=f"{data.source} (taken back to counts)"), normalisation


def counts_of(data: ExpressionData, normalisation: Normalisation | None) -> ExpressionData:
    """Return cells for a model that was fitted to counts behind values, if it was: their counts."""
    if normalisation is None or data.is_integer:
        return data
    found = with_counts(data)
    if found is None:
        raise DataError(
            f"the model was trained on {normalisation.describe()}, but {data.source} holds values "
            "that do not come from counts in such a way: pass counts, or values made alike."
        )
    return found[0]


def common_sum(data: ExpressionData) -> Normalisation | None:
    """Return the scaling of values, such as TPM, whose sum is the same in all cells; or None."""
    if data.minimum < 0 or data.is_integer or data.n_cells < 2 or not data.library.min() > 0:
        return None
    log_sum = np.log(data.library)
    same = np.std(log_sum) < _SAME_SUM
    return Normalisation(None, 0.0, float(np.median(log_sum))) if same else None


def _hypotheses(X: Any) -> list[tuple[float | None, float, Callable[[Array], Array]]]:
    """List bases, pseudocounts and maps to the linear scale, the likeliest first."""
    found: list[tuple[float | None, float, Callable[[Array], Array]]] = []
    first, second = _smallest_two(X)
    if len(first):
        base = _usual(math.exp(float(np.median(_rate_with_pseudocount(first, second)))))
        found.append((base, 1.0, lambda x: np.expm1(x * math.log(base))))
    found.append((None, 0.0, lambda x: x))
    # Without a pseudocount there is no logarithm of 0: such data hold zeros, for no count.
    if len(first) and X.nnz < _LARGEST_FILLED * X.shape[0] * X.shape[1]:
        rate = math.log(2) / float(np.median(second - first))
        plain = _usual(math.exp(min(rate, 50.0)))
        found.append((plain, 0.0, lambda x: np.exp(x * math.log(plain))))
    return found


def _smallest_two(X: Any) -> tuple[Array, Array]:
    """Return the two smallest different values of each cell that has two."""
    pairs = []
    for start, stop in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        values = np.unique(X.data[start:stop].astype(np.float64))
        larger = values[values > values[0] + 1e-5 * abs(values[0])]
        if len(larger):
            pairs.append((values[0], larger[0]))
    first, second = np.array(pairs).reshape(-1, 2).T
    return first, second


def _rate_with_pseudocount(first: Array, second: Array) -> Array:
    """Solve ``expm1(second b) = 2 expm1(first b)`` for the rate b > 0 by bisection."""
    low, high = np.full_like(first, 1e-3), np.full_like(first, 50.0)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(60):
            middle = (low + high) / 2
            below = np.expm1(second * middle) < 2 * np.expm1(first * middle)
            low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def _usual(base: float) -> float:
    return next((usual for usual in _USUAL_BASES if abs(base / usual - 1) < 1e-4), base)


def _on_lattice(
    X: Any, linear: Callable[[Array], Array], least: int = _LEAST_VALUES
) -> tuple[sparse.csr_matrix, Array] | None:
    """Return counts and the step of each cell if every value is a whole number of steps."""
    with np.errstate(over="ignore"):
        values = linear(X.data.astype(np.float64))
    if not least and not len(values):
        return X, np.ones(X.shape[0])
    if not len(values) or not np.isfinite(values).all() or values.min() <= 0:
        return None
    per_cell = np.diff(X.indptr)
    filled = per_cell > 0
    smallest = np.ones(X.shape[0])
    smallest[filled] = np.minimum.reduceat(values, X.indptr[:-1][filled])
    step, left = smallest.copy(), filled.copy()
    for count in range(1, _LARGEST_SMALLEST + 1):
        off = _worst(values / np.repeat(smallest / count, per_cell), X.indptr, filled)
        fits = left & (off < 1)
        step[fits] = smallest[fits] / count
        left &= ~fits
        if not left.any():
            break
    if left.any() or len(values) - filled.sum() < least:
        return None
    counts = sparse.csr_matrix(
        (np.rint(values / np.repeat(step, per_cell)).astype(np.float32), X.indices, X.indptr),
        shape=X.shape,
    )
    return counts, step


def _worst(multiple: Array, indptr: NDArray[Any], filled: NDArray[np.bool_]) -> Array:
    """Return the largest distance of a cell's values from whole numbers, in units of rounding."""
    off = np.abs(multiple - np.rint(multiple)) / (_OFF + _ROUNDING * multiple)
    off[_ROUNDING * multiple > 0.1] = np.inf  # too far up to be read
    out = np.full(len(filled), np.inf)
    out[filled] = np.maximum.reduceat(off, indptr[:-1][filled])
    return out


def _totals(counts: Any) -> Array:
    return np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()


def _normalisation(
    total: Array, step: Array, log_base: float | None, pseudocount: float
) -> Normalisation:
    filled = total > 0
    log_total, log_sum = np.log(total[filled]), np.log((step * total)[filled])
    if np.std(log_sum) < _SAME_SUM:
        return Normalisation(log_base, pseudocount, float(np.median(log_sum)))
    centre, mean = float(log_total.mean()), float(log_sum.mean())
    spread = float(np.var(log_total))
    slope = float(np.mean((log_total - centre) * (log_sum - mean))) / spread if spread > 0 else 0.0
    left = log_sum - mean - slope * (log_total - centre)
    return Normalisation(log_base, pseudocount, mean, slope, float(np.std(left)), centre)
