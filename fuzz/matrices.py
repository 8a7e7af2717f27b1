"""Mutants of sparse matrices: valid rows of training data, or a refusal."""

from __future__ import annotations

import io
import random
import warnings
from typing import Any

import anndata
import numpy as np
from scipy import sparse

from vaexprs.data import read_expression
from vaexprs.errors import VaexprsError

DTYPES = ("float32", "float64", "int8", "uint16", "int32", "int64", "bool", "float16", "complex64")
EXTREMES = (-1, 0, 1, 20, 21, 10**8, 2**31 - 1, -(2**31), 2**40, 2**63 - 1)


def mutant(seed: int, index: int) -> bytes:
    """Return mutant `index` of a seed: the parts of a CSR or CSC matrix, as .npz."""
    rng = random.Random(f"{seed} {index}")
    n_cells, n_genes = rng.randrange(1, 12), rng.randrange(1, 20)
    counts = np.random.default_rng(rng.randrange(2**32)).poisson(1.0, (n_cells, n_genes))
    kind = rng.choice(("csr", "csr", "csc"))
    matrix = sparse.csr_matrix(counts) if kind == "csr" else sparse.csc_matrix(counts)
    parts = {
        "data": matrix.data.astype(rng.choice(DTYPES)),
        "indices": matrix.indices.astype(rng.choice(("int32", "int64"))),
        "indptr": matrix.indptr.astype(rng.choice(("int32", "int64"))),
    }
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        name = rng.choice(("data", "indices", "indptr", "indptr"))
        parts[name] = _broken(rng, parts[name])
    file = io.BytesIO()
    np.savez(file, kind=np.array(kind), shape=np.array((n_cells, n_genes)), **parts)
    return file.getvalue()


def _broken(rng: random.Random, array: Any) -> Any:
    array = array.copy()
    action = rng.randrange(6)
    with np.errstate(all="ignore"):
        if action == 0 and array.size:
            array[rng.randrange(array.size)] = np.array(rng.choice(EXTREMES)).astype(array.dtype)
        elif action == 1 and array.dtype.kind in "iu":
            array += np.array(rng.choice(EXTREMES)).astype(array.dtype)
        elif action == 2:
            array = array[: rng.randrange(array.size + 1)]
        elif action == 3:
            array = np.concatenate([array, array[: rng.randrange(4)]])
        elif action == 4:
            array = array[::-1].copy()
        elif array.dtype.kind == "f" and array.size:
            array[rng.randrange(array.size)] = rng.choice((np.nan, np.inf, -np.inf, 1e30, -0.5))
    return array


def check(data: bytes) -> None:
    """Read a matrix as training data; what comes out is a valid matrix of the same shape."""
    parts = np.load(io.BytesIO(data))
    shape = tuple(parts["shape"].tolist())
    matrix = sparse.csr_matrix(shape) if parts["kind"] == "csr" else sparse.csc_matrix(shape)
    # SciPy and AnnData check nothing of what is put in place.
    matrix.data, matrix.indices, matrix.indptr = parts["data"], parts["indices"], parts["indptr"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata = anndata.AnnData(sparse.csr_matrix(shape, dtype="float32"))
        adata._X = matrix
        for source in (adata, matrix):
            try:
                read = read_expression(source)
            except VaexprsError:
                continue
            X = read.X
            assert X.shape == shape
            assert np.isfinite(X.data).all()
            if sparse.issparse(X):
                X.check_format(full_check=True)
