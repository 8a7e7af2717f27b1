"""The one door of matrices: checked in full before any compiled code reads them.

SciPy trusts the index arrays of a sparse matrix, and reads and writes out of bounds where they
are wrong. Here they are checked, wherever the matrix comes from.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import DataError, require

__all__ = ["canonical", "first_values", "is_sparse_group"]

#: Rows of a dense matrix in a file that are read at a time: 80 MB of 20,000 genes in float32.
_ROWS_PER_READ = 1024

#: Values of a sparse matrix in a file that may lie between two wanted rows and are read with
#: them: 64 kB, which takes as long as a further read.
_GAP = 16_384

#: Values of a sparse matrix in a file that are read at a time: 128 MB with their indices.
_MOST = 2**24

#: Values that `first_values` returns at least.
_FEW = 5_000


def canonical(
    matrix: Any,
    what: str,
    *,
    shape: tuple[int, int] | None = None,
    rows: NDArray[np.int64] | None = None,
) -> Any:
    """Return a matrix as float32 CSR with sorted indices and no stored zeros, or float32 array.

    Parameters
    ----------
    matrix
        An array, a sparse or dask matrix, a dense dataset or a group of a sparse matrix in an
        HDF5 file or zarr store, or what anndata wraps round those. It is not changed.
    what
        What messages call it: ``"layer 'counts' of 'cells.h5ad'"``.
    shape
        Expected ``(n_cells, n_genes)``, where it is known.
    rows
        Rows to return, rising, or None for all.

    Raises
    ------
    DataError
        If it does not hold numbers, is of another shape, or is a damaged sparse matrix.
    """
    sparse = require("scipy.sparse", extra="anndata", purpose="Reading expression data")
    if hasattr(matrix, "group") and hasattr(matrix, "to_memory"):  # anndata's sparse dataset
        matrix = matrix.group
    if hasattr(matrix, "compute"):  # dask
        _check_shape(matrix, what, shape)
        matrix, rows = (matrix if rows is None else matrix[rows]).compute(), None
        shape = None
    elif is_sparse_group(matrix):
        matrix, rows = _read_sparse(sparse, matrix, what, shape, rows), None
        shape = None
    elif not isinstance(matrix, np.ndarray) and hasattr(matrix, "chunks"):  # dense, in a file
        _check_shape(matrix, what, shape)
        matrix, rows = _read_dense(sparse, matrix, what, rows), None
        shape = None
    try:
        if not sparse.issparse(matrix):
            if isinstance(matrix, np.ma.MaskedArray):  # masked values are missing values
                matrix = np.where(matrix.mask, np.nan, matrix.data)
            matrix = np.asarray(matrix)
        if matrix.dtype.kind not in "biufO":
            raise TypeError(f"its values are of type {matrix.dtype}")
        _check_shape(matrix, what, shape)
        if not sparse.issparse(matrix):
            if rows is not None:
                matrix = matrix[rows]
            return np.ascontiguousarray(matrix, dtype=np.float32)
        csr = _checked(sparse, matrix, what)
        if rows is not None:
            csr = csr[rows]
        data = csr.data.astype(np.float32, copy=False)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{what} does not hold numbers: {error}.") from error
    # A matrix of its own, with no flags that somebody set on the given one.
    out = sparse.csr_matrix((data, csr.indices, csr.indptr), shape=csr.shape)
    if not out.has_canonical_format or (out.data == 0).any():
        out = out.copy()
        out.sum_duplicates()
        out.eliminate_zeros()
    return out


def first_values(matrix: Any) -> Any:
    """Return some thousand stored values of a matrix of any kind, without reading all of it."""
    if hasattr(matrix, "group") and hasattr(matrix, "to_memory"):
        matrix = matrix.group
    if is_sparse_group(matrix):
        return np.asarray(matrix["data"][:_FEW])
    if hasattr(matrix, "tocsr"):
        return np.asarray(matrix.data[:_FEW]) if hasattr(matrix, "indptr") else np.zeros(0)
    n_rows = max(1, _FEW // max(1, matrix.shape[1]))
    block = matrix[:n_rows]
    block = block.compute() if hasattr(block, "compute") else block
    return block.data if hasattr(block, "tocsr") else np.asarray(block).ravel()


def is_sparse_group(element: Any) -> bool:
    """Return whether an element of a file is a sparse matrix in anndata's encoding."""
    return hasattr(element, "attrs") and hasattr(element, "keys") and "indptr" in element


def _refuse(what: str, problem: str) -> NoReturn:
    raise DataError(f"{what} is a damaged sparse matrix: {problem}. Make it again from its source.")


def _check_shape(matrix: Any, what: str, shape: tuple[int, int] | None) -> None:
    came = tuple(matrix.shape)
    if len(came) != 2 or (shape is not None and came != shape):
        expected = f"{shape[0]} cells x {shape[1]} genes" if shape else "cells x genes"
        raise DataError(f"{what} is of shape {came}, expected {expected}.")
    if max(came) >= 2**31:
        raise DataError(f"{what} is of shape {came}: no side may have 2^31 entries or more.")


def _check_pointers(indptr: Any, n_rows: int, n_stored: int, what: str) -> None:
    """Check where the rows of a compressed matrix begin and end."""
    if indptr.ndim != 1 or indptr.dtype.kind not in "iu":
        _refuse(what, "indptr is no list of whole numbers")
    if len(indptr) != n_rows + 1:
        _refuse(what, f"indptr has {len(indptr)} entries, expected {n_rows + 1}")
    if indptr[0] != 0:
        _refuse(what, f"indptr begins with {indptr[0]}, expected 0")
    # no difference, which would wrap around
    if (indptr[1:] < indptr[:-1]).any():
        _refuse(what, "indptr falls")
    if indptr[-1] > n_stored:
        _refuse(what, f"indptr ends at {indptr[-1]}, but {n_stored} values are stored")


def _check_indices(indices: Any, bound: int, what: str) -> None:
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        _refuse(what, "its indices are no list of whole numbers")
    if indices.size and (indices.min() < 0 or indices.max() >= bound):
        wrong = indices.min() if indices.min() < 0 else indices.max()
        _refuse(what, f"an index is {wrong}, expected 0 to {bound - 1}")


def _checked(sparse: Any, matrix: Any, what: str) -> Any:
    """Return any sparse matrix as CSR, after a check of its index arrays."""
    _check_shape(matrix, what, None)
    n_rows, n_columns = (int(n) for n in matrix.shape)
    if matrix.format in ("csr", "csc"):
        major, minor = (n_rows, n_columns) if matrix.format == "csr" else (n_columns, n_rows)
        return _compressed(
            sparse, matrix.format, matrix.data, matrix.indices, matrix.indptr, major, minor, what
        )
    if matrix.format == "bsr":
        _check_blocks(matrix, what)
    if matrix.format == "lil" and any(
        len(row) != len(values) for row, values in zip(matrix.rows, matrix.data, strict=True)
    ):
        _refuse(what, "a row has not as many values as indices")
    coo = matrix if matrix.format == "coo" else matrix.tocoo()
    if not len(coo.row) == len(coo.col) == len(coo.data):
        _refuse(what, "rows, columns and values differ in number")
    _check_indices(np.asarray(coo.row), n_rows, what)
    _check_indices(np.asarray(coo.col), n_columns, what)
    return coo.tocsr()


def _check_blocks(matrix: Any, what: str) -> None:
    if matrix.data.ndim != 3 or 0 in matrix.data.shape[1:]:
        _refuse(what, "its values are no blocks")
    n_stored, *sides = matrix.data.shape
    if any(n % side for n, side in zip(matrix.shape, sides, strict=True)):
        _refuse(what, "its blocks do not fill it")
    n_rows, n_columns = (n // side for n, side in zip(matrix.shape, sides, strict=True))
    _check_pointers(np.asarray(matrix.indptr), n_rows, min(n_stored, len(matrix.indices)), what)
    _check_indices(np.asarray(matrix.indices), n_columns, what)


def _compressed(
    sparse: Any, form: str, data: Any, indices: Any, indptr: Any, major: int, minor: int, what: str
) -> Any:
    data, indices, indptr = (np.asarray(part) for part in (data, indices, indptr))
    if data.ndim != 1 or len(data) != len(indices):
        _refuse(what, f"{data.shape} values for {len(indices)} indices")
    if data.dtype.kind not in "biuf":
        data = data.astype(np.float64)
    _check_pointers(indptr, major, len(data), what)
    n_stored = int(indptr[-1])
    data, indices = data[:n_stored], indices[:n_stored]
    _check_indices(indices, minor, what)
    fits = max(n_stored, minor) < 2**31
    whole = np.int32 if fits else np.int64
    parts = (data, indices.astype(whole, copy=False), indptr.astype(whole, copy=False))
    if form == "csr":
        return sparse.csr_matrix(parts, shape=(major, minor))
    return sparse.csc_matrix(parts, shape=(minor, major)).tocsr()


def _read_sparse(
    sparse: Any,
    group: Any,
    what: str,
    shape: tuple[int, int] | None,
    rows: NDArray[np.int64] | None,
) -> Any:
    """Read a sparse matrix, or some rows of it, from a group in anndata's encoding."""
    attributes = dict(group.attrs)
    form = str(attributes.get("encoding-type", attributes.get("h5sparse_format", "")))[:3]
    came = attributes.get("shape", attributes.get("h5sparse_shape"))
    if form not in ("csr", "csc") or came is None or not {"data", "indices"} <= set(group.keys()):
        _refuse(what, "it has no format, shape, data or indices")
    size = tuple(int(n) for n in np.ravel(came))
    if len(size) != 2 or min(size) < 0 or (shape is not None and size != shape):
        expected = f", expected {shape[0]} cells x {shape[1]} genes" if shape else ""
        raise DataError(f"{what} is of shape {size}{expected}.")
    major, minor = size if form == "csr" else size[::-1]
    data, indices, indptr = (group[name] for name in ("data", "indices", "indptr"))
    for part in (data, indices, indptr):
        if len(getattr(part, "shape", ())) != 1:
            _refuse(what, "data, indices and indptr must be lists")
    if indptr.shape[0] != major + 1 or data.shape[0] > major * minor:
        _refuse(
            what,
            f"{indptr.shape[0]} row pointers and {data.shape[0]} values for {major} x {minor}",
        )
    if data.shape[0] != indices.shape[0]:
        _refuse(what, f"{data.shape[0]} values for {indices.shape[0]} indices")
    if data.dtype.kind not in "biuf":
        raise DataError(f"{what} does not hold numbers: its values are of type {data.dtype}.")
    pointers = np.asarray(indptr[:])
    if rows is None or form == "csc":
        whole = _compressed(
            sparse, form, data[:], indices[:], pointers, major, minor, what
        )  # fmt: skip
        return whole if rows is None else whole[rows]
    _check_pointers(pointers, major, int(data.shape[0]), what)
    starts, stops = pointers[rows].astype(np.int64), pointers[rows + 1].astype(np.int64)
    lengths = stops - starts
    parts: list[tuple[Any, Any]] = []
    first = 0
    for last in range(len(rows)):
        if last + 1 < len(rows):
            near = starts[last + 1] - stops[last] <= _GAP
            if near and stops[last + 1] - starts[first] <= _MOST:
                continue  # in one read with the next row
        span = slice(int(starts[first]), int(stops[last]))
        mine = slice(first, last + 1)
        inside = np.repeat(starts[mine] - span.start, lengths[mine])
        inside += np.arange(len(inside)) - np.repeat(
            np.cumsum(lengths[mine]) - lengths[mine], lengths[mine]
        )
        parts.append((data[span][inside], indices[span][inside]))
        first = last + 1
    values = np.concatenate([part[0] for part in parts])
    columns = np.concatenate([part[1] for part in parts])
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return _compressed(sparse, "csr", values, columns, ends, len(rows), minor, what)


def _read_dense(sparse: Any, matrix: Any, what: str, rows: NDArray[np.int64] | None) -> Any:
    """Read a dense matrix from a file by blocks of rows, as CSR where most values are zero."""
    if matrix.dtype.kind not in "biuf":
        raise DataError(f"{what} does not hold numbers: its values are of type {matrix.dtype}.")
    if rows is not None:
        select = getattr(matrix, "oindex", matrix)
        return np.asarray(select[rows, :], np.float32)
    blocks: list[Any] = []
    for start in range(0, matrix.shape[0], _ROWS_PER_READ):
        block = np.asarray(matrix[start : start + _ROWS_PER_READ], np.float32)
        few = 3 * np.count_nonzero(block) < block.size  # CSR takes 8 bytes a value, an array 4
        blocks.append(sparse.csr_matrix(block) if few else block)
    if not blocks:
        return np.zeros(matrix.shape, np.float32)
    if all(sparse.issparse(block) for block in blocks):
        return sparse.vstack(blocks, format="csr")
    return np.concatenate([b.toarray() if sparse.issparse(b) else b for b in blocks])
