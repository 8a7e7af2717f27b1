"""The one door of matrices: checked in full before any compiled code reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.data.matrices.checks import check_shape, checked_sparse
from vaexprs.data.matrices.stored import is_sparse_group, read_dense, read_sparse, stored
from vaexprs.errors import DataError, require

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
    matrix = stored(matrix)
    if hasattr(matrix, "compute"):  # dask
        check_shape(matrix, what, shape)
        matrix, rows = (matrix if rows is None else matrix[rows]).compute(), None
        shape = None
    elif is_sparse_group(matrix):
        matrix, rows = read_sparse(sparse, matrix, what, shape, rows), None
        shape = None
    elif not isinstance(matrix, np.ndarray) and hasattr(matrix, "chunks"):  # dense, in a file
        check_shape(matrix, what, shape)
        matrix, rows = read_dense(sparse, matrix, what, rows), None
        shape = None
    try:
        if not sparse.issparse(matrix):
            if isinstance(matrix, np.ma.MaskedArray):  # masked values are missing values
                matrix = np.where(matrix.mask, np.nan, matrix.data)
            matrix = np.asarray(matrix)
        if matrix.dtype.kind not in "biufO":
            raise TypeError(f"its values are of type {matrix.dtype}")
        check_shape(matrix, what, shape)
        if not sparse.issparse(matrix):
            if rows is not None:
                matrix = matrix[rows]
            return np.ascontiguousarray(matrix, dtype=np.float32)
        csr = checked_sparse(sparse, matrix, what)
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
    matrix = stored(matrix)
    if is_sparse_group(matrix):
        return np.asarray(matrix["data"][:_FEW])
    if hasattr(matrix, "tocsr"):
        return np.asarray(matrix.data[:_FEW]) if hasattr(matrix, "indptr") else np.zeros(0)
    n_rows = max(1, _FEW // max(1, matrix.shape[1]))
    block = matrix[:n_rows]
    block = block.compute() if hasattr(block, "compute") else block
    return block.data if hasattr(block, "tocsr") else np.asarray(block).ravel()
