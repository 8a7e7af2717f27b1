"""`Chunked`: a matrix too large for copies of it, read in chunks of rows from memory or a file.

Whatever is computed from all rows is computed chunk by chunk and added up. Chunks depend on the
size of the matrix alone, so that a matrix in memory and the same in a file give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

#: Most stored values and most rows of a chunk: 256 MB as CSR, and few enough for work arrays.
_MOST_VALUES, _MOST_ROWS = 2**25, 2**16
#: Rows of a chunk are a multiple of this, unless a single chunk holds all.
_STEP = 1024
#: Blocks of consecutive rows in a chunk that is gathered for training: the more, the better mixed,
#: and the fewer, the less is read in vain from compressed files.
_BLOCKS = 64


class Source(Protocol):
    """Rows that can be read in any order.

    Attributes
    ----------
    shape
        ``(n_cells, n_genes)``.
    n_stored
        Stored values: all of a dense matrix, the non-zeros of a sparse one.
    """

    shape: tuple[int, int]
    n_stored: int

    def read(self, rows: NDArray[np.int64]) -> Any:
        """Return some rows, given in rising order: float32 CSR or array."""


class Held:
    """Rows of a matrix in memory."""

    def __init__(self, X: Any) -> None:
        self.X, self.shape = X, X.shape
        self.n_stored = int(X.size if isinstance(X, np.ndarray) else X.nnz)

    def read(self, rows: NDArray[np.int64]) -> Any:
        """Return some rows, given in rising order."""
        if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
            return self.X[int(rows[0]) : int(rows[-1]) + 1]
        return self.X[rows]


@dataclass(frozen=True)
class Facts:
    """What one pass over a matrix tells.

    Attributes
    ----------
    minimum, maximum, n_nonzero, is_integer
        Of all values.
    is_finite
        Whether none is missing or infinite.
    totals, largest
        Sum and largest absolute value of each row, ``(n_cells,)``.
    """

    minimum: float
    maximum: float
    n_nonzero: int
    is_integer: bool
    is_finite: bool
    totals: NDArray[np.float64]
    largest: NDArray[np.float32]


def chunk_rows(n_rows: int, n_stored: int) -> int:
    """Return how many rows of a matrix make a chunk."""
    fit = min(_MOST_ROWS, _MOST_VALUES * n_rows // max(n_stored, 1))
    return n_rows if fit >= n_rows else max(_STEP, fit // _STEP * _STEP)


def in_chunks(source: Source) -> Any:
    """Return a source as `Chunked`, or its rows where one chunk holds them all."""
    n_rows, n_columns = source.shape
    if n_rows <= (fit := chunk_rows(n_rows, source.n_stored)):
        return source.read(np.arange(n_rows))
    return Chunked(source, np.arange(n_rows), fit, n_columns)


def by_chunk(function: Callable[[Any], Any], X: Any) -> Any:
    """Apply a function of rows to a matrix: at once, or to each chunk when it is read."""
    return X.map(function) if isinstance(X, Chunked) else function(X)


class Chunked:
    """A matrix that is read in chunks of rows, as float32 CSR or arrays.

    It answers what SciPy's matrices answer where training asks: rows, sums, means, comparisons.

    Parameters
    ----------
    source
        Where the rows are.
    rows
        Which of them, in which order.
    chunk
        Rows that are read together.
    n_columns
        Columns after `maps`.
    maps
        Functions of rows that are applied to what is read, each to what the last one gave.
    """

    def __init__(
        self,
        source: Source,
        rows: NDArray[np.int64],
        chunk: int,
        n_columns: int,
        maps: tuple[Callable[[Any], Any], ...] = (),
    ) -> None:
        self._source, self._rows, self._maps = source, rows, maps
        self.chunk, self.shape = chunk, (len(rows), n_columns)

    def __getitem__(self, index: slice | NDArray[np.integer[Any]]) -> Any:
        """Return some rows, in memory, in the order that was asked for."""
        rows = self._rows[index]
        rising = bool((rows[1:] > rows[:-1]).all())
        order = None if rising else np.argsort(rows, kind="stable")
        found = self._source.read(rows if order is None else rows[order])
        if order is not None:
            back = np.empty_like(order)
            back[order] = np.arange(len(order))
            found = found[back]
        for function in self._maps:
            found = function(found)
        return found

    def chunks(self) -> Iterator[tuple[slice, Any]]:
        """Yield the rows of each chunk and what is in them."""
        for start in range(0, len(self._rows), self.chunk):
            rows = slice(start, min(start + self.chunk, len(self._rows)))
            yield rows, self[rows]

    def total(self, function: Callable[[slice, Any], Any]) -> Any:
        """Return the sum over chunks of a function of rows and what is in them."""
        out: Any = None
        for rows, block in self.chunks():
            part = function(rows, block)
            out = part if out is None else out + part
        return out

    def take(self, index: NDArray[np.integer[Any]]) -> Chunked:
        """Return some rows, which are read when they are needed."""
        taken = Chunked(self._source, self._rows[index], self.chunk, self.shape[1], self._maps)
        if {"facts", "totals"} & self.__dict__.keys():  # known, and else another pass
            taken.__dict__["totals"] = self.totals[index]
        return taken

    def followed_by(self, others: Sequence[Chunked]) -> Chunked:
        """Return these rows and then those of others of the same source."""
        assert all(other._source is self._source for other in others)
        rows = np.concatenate([self._rows, *(other._rows for other in others)])
        joined = Chunked(self._source, rows, self.chunk, self.shape[1], self._maps)
        joined.__dict__["totals"] = np.concatenate([part.totals for part in (self, *others)])
        return joined

    def map(self, function: Callable[[Any], Any], n_columns: int | None = None) -> Chunked:
        """Return this with a function of rows applied to what is read."""
        columns = self.shape[1] if n_columns is None else n_columns
        return Chunked(self._source, self._rows, self.chunk, columns, (*self._maps, function))

    def shuffled(
        self, permutation: Callable[[int], NDArray[np.int64]], size: int
    ) -> NDArray[np.int64]:
        """Return an order of all rows in which each `size` rows are read together.

        Blocks of consecutive rows come in random order, and the rows of each `size` are mixed.
        """
        n = len(self._rows)
        block = max(1, self.chunk // _BLOCKS)
        blocks = permutation(-(-n // block))
        order = (blocks[:, None] * block + np.arange(block)).ravel()
        order = order[order < n]
        for start in range(0, n, size):
            part = order[start : start + size]
            order[start : start + size] = part[permutation(len(part))]
        return order

    @cached_property
    def facts(self) -> Facts:
        """What one pass tells."""
        return facts_of(block for _, block in self.chunks())

    @cached_property
    def totals(self) -> NDArray[np.float64]:
        """Sum of each row."""
        return self.facts.totals

    def sum(self, axis: int, dtype: Any = None) -> NDArray[Any]:
        """Return the sums of the columns (axis 0) or rows (axis 1)."""
        if axis == 1:
            parts = [np.asarray(b.sum(axis=1, dtype=dtype)).ravel() for _, b in self.chunks()]
            return np.concatenate(parts)
        wide = np.float64 if dtype is None else dtype
        return self.total(lambda _, block: np.asarray(block.sum(axis=0, dtype=wide)).ravel())

    def mean(self, axis: int, dtype: Any = None) -> NDArray[Any]:
        """Return the means of the columns."""
        assert axis == 0
        return self.sum(0, dtype) / len(self._rows)

    def max(self) -> float:
        """Return the largest value."""
        return self.facts.maximum

    def astype(self, dtype: Any) -> Chunked:
        """Return this in another type."""
        return self.map(lambda block: block.astype(dtype))

    def __matmul__(self, other: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([np.asarray(block @ other) for _, block in self.chunks()])

    def __gt__(self, value: float) -> Chunked:
        return self.map(lambda block: block > value)


def facts_of(blocks: Iterator[Any]) -> Facts:
    """Return what one pass over the rows of a matrix tells."""
    minimum, maximum, n_nonzero, is_integer, is_finite = np.inf, -np.inf, 0, True, True
    totals, largest = [], []
    for block in blocks:
        values = block.ravel() if isinstance(block, np.ndarray) else block.data
        if values.size < block.shape[0] * block.shape[1]:
            minimum, maximum = min(minimum, 0.0), max(maximum, 0.0)
        minimum = min(minimum, float(values.min(initial=np.inf)))
        maximum = max(maximum, float(values.max(initial=-np.inf)))
        n_nonzero += int(np.count_nonzero(values))
        is_integer = is_integer and bool((values == np.rint(values)).all())
        is_finite = is_finite and bool(np.isfinite(values).all())
        totals.append(np.asarray(block.sum(axis=1, dtype=np.float64)).ravel())
        absolute = abs(block).max(axis=1)
        largest.append(absolute if isinstance(block, np.ndarray) else absolute.toarray().ravel())
    return Facts(
        minimum, maximum, n_nonzero, is_integer, is_finite,
        np.concatenate(totals), np.concatenate(largest),
    )  # fmt: skip
