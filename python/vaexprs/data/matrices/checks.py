"""Checks of sparse matrices before any compiled code reads them.

SciPy trusts the index arrays of a sparse matrix, and reads and writes out of bounds where they
are wrong.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from vaexprs.errors import DataError


def refuse(what: str, problem: str) -> NoReturn:
    """Raise the error of a damaged sparse matrix."""
    raise DataError(f"{what} is a damaged sparse matrix: {problem}. Make it again from its source.")


def check_shape(matrix: Any, what: str, shape: tuple[int, int] | None) -> None:
    """Refuse a matrix that has not two sides, or others than expected."""
    came = tuple(matrix.shape)
    if len(came) != 2 or (shape is not None and came != shape):
        expected = f"{shape[0]} cells x {shape[1]} genes" if shape else "cells x genes"
        raise DataError(f"{what} is of shape {came}, expected {expected}.")
    if max(came) >= 2**31:
        raise DataError(f"{what} is of shape {came}: no side may have 2^31 entries or more.")


def check_pointers(indptr: Any, n_rows: int, n_stored: int, what: str) -> None:
    """Check where the rows of a compressed matrix begin and end."""
    if indptr.ndim != 1 or indptr.dtype.kind not in "iu":
        refuse(what, "indptr is no list of whole numbers")
    if len(indptr) != n_rows + 1:
        refuse(what, f"indptr has {len(indptr)} entries, expected {n_rows + 1}")
    if indptr[0] != 0:
        refuse(what, f"indptr begins with {indptr[0]}, expected 0")
    # no difference, which would wrap around
    if (indptr[1:] < indptr[:-1]).any():
        refuse(what, "indptr falls")
    if indptr[-1] > n_stored:
        refuse(what, f"indptr ends at {indptr[-1]}, but {n_stored} values are stored")


def _check_indices(indices: Any, bound: int, what: str) -> None:
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        refuse(what, "its indices are no list of whole numbers")
    if indices.size and (indices.min() < 0 or indices.max() >= bound):
        wrong = indices.min() if indices.min() < 0 else indices.max()
        refuse(what, f"an index is {wrong}, expected 0 to {bound - 1}")


def checked_sparse(sparse: Any, matrix: Any, what: str) -> Any:
    """Return any sparse matrix as CSR, after a check of its index arrays."""
    check_shape(matrix, what, None)
    n_rows, n_columns = (int(n) for n in matrix.shape)
    if matrix.format in ("csr", "csc"):
        major, minor = (n_rows, n_columns) if matrix.format == "csr" else (n_columns, n_rows)
        return compressed(
            sparse, matrix.format, matrix.data, matrix.indices, matrix.indptr, major, minor, what
        )
    if matrix.format == "bsr":
        _check_blocks(matrix, what)
    if matrix.format == "lil" and any(
        len(row) != len(values) for row, values in zip(matrix.rows, matrix.data, strict=True)
    ):
        refuse(what, "a row has not as many values as indices")
    coo = matrix if matrix.format == "coo" else matrix.tocoo()
    if not len(coo.row) == len(coo.col) == len(coo.data):
        refuse(what, "rows, columns and values differ in number")
    _check_indices(np.asarray(coo.row), n_rows, what)
    _check_indices(np.asarray(coo.col), n_columns, what)
    return coo.tocsr()


def _check_blocks(matrix: Any, what: str) -> None:
    if matrix.data.ndim != 3 or 0 in matrix.data.shape[1:]:
        refuse(what, "its values are no blocks")
    n_stored, *sides = matrix.data.shape
    if any(n % side for n, side in zip(matrix.shape, sides, strict=True)):
        refuse(what, "its blocks do not fill it")
    n_rows, n_columns = (n // side for n, side in zip(matrix.shape, sides, strict=True))
    check_pointers(np.asarray(matrix.indptr), n_rows, min(n_stored, len(matrix.indices)), what)
    _check_indices(np.asarray(matrix.indices), n_columns, what)


def compressed(
    sparse: Any, form: str, data: Any, indices: Any, indptr: Any, major: int, minor: int, what: str
) -> Any:
    """Return a compressed matrix as CSR, after a check of its index arrays."""
    data, indices, indptr = (np.asarray(part) for part in (data, indices, indptr))
    if data.ndim != 1 or len(data) != len(indices):
        refuse(what, f"{data.shape} values for {len(indices)} indices")
    if data.dtype.kind not in "biuf":
        data = data.astype(np.float64)
    check_pointers(indptr, major, len(data), what)
    n_stored = int(indptr[-1])
    data, indices = data[:n_stored], indices[:n_stored]
    _check_indices(indices, minor, what)
    fits = max(n_stored, minor) < 2**31
    whole = np.int32 if fits else np.int64
    parts = (data, indices.astype(whole, copy=False), indptr.astype(whole, copy=False))
    if form == "csr":
        return sparse.csr_matrix(parts, shape=(major, minor))
    return sparse.csc_matrix(parts, shape=(minor, major)).tocsr()


def check_numbers(array: Any, what: str) -> None:
    """Refuse values that are no numbers, by their type."""
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} does not hold numbers: its values are of type {array.dtype}.")
