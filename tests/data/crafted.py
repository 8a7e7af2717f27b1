"""Crafted sparse matrices: every part of one bent in ways that SciPy does not notice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

_BIG = (10**8, 2**31 - 1, 2**31, 2**40, 2**62, -1, -(2**31), -(2**62))


def whole(seed: int, form: str = "csr") -> Any:
    """Return a sound matrix of counts, about 24 cells x 20 genes."""
    rng = np.random.default_rng(seed)
    X = rng.poisson(0.6, (24 + seed % 3, 20)).astype(np.float32)
    X[:, 0] += 1
    return sparse.csr_matrix(X).asformat(form)


def bent(seed: int) -> Any:
    """Return a matrix of which one to three parts are wrong; it must be refused or read safely."""
    rng = np.random.default_rng(seed)
    form = ("csr", "csc", "coo", "bsr")[rng.choice(4, p=[0.5, 0.3, 0.1, 0.1])]
    matrix = whole(seed, form)
    for _ in range(rng.integers(1, 4)):
        _bend(matrix, rng)
    return matrix


def _bend(matrix: Any, rng: np.random.Generator) -> None:
    names = ("row", "col", "data") if matrix.format == "coo" else ("indptr", "indices", "data")
    name = names[rng.integers(3)]
    part = np.array(getattr(matrix, name))
    if part.dtype.kind not in "iufb" or not part.size:
        return
    how = rng.integers(9)
    if how == 0 and part.ndim == 1 and name != "data":  # one entry far off
        part = part.astype(np.int64)
        part[rng.integers(max(len(part), 1))] = _BIG[rng.integers(len(_BIG))]
    elif how == 1 and name != "data":  # all of them
        part = part.astype(np.int64) + _BIG[rng.integers(len(_BIG))]
    elif how == 2 and part.ndim == 1:  # out of order
        part = rng.permutation(part)
    elif how == 3:  # too short
        part = part[: rng.integers(len(part) + 1)]
    elif how == 4:  # too long
        part = np.concatenate([part, part])
    elif how == 5:  # of another type
        part = part.astype(("f8", "u8", "i2", "U3", "c16", "?")[rng.integers(6)])
    elif how == 6:  # of another shape
        part = part.reshape(1, -1)
    elif how == 7 and name != "data":  # falls
        part = part[::-1].copy()
    elif name != "data":
        part = part.astype(np.int64)
        part[rng.integers(max(len(part), 1))] += rng.integers(-30, 30)
    try:
        if matrix.format == "coo" and name != "data":
            coords = list(matrix.coords)
            coords[names.index(name)] = part
            matrix.coords = tuple(coords)
        else:
            setattr(matrix, name, part)
    except (ValueError, AttributeError):
        pass


def crafted(n: int, first: int = 0) -> Iterator[tuple[int, Any]]:
    """Yield seeds and crafted matrices."""
    for seed in range(first, first + n):
        yield seed, bent(seed)


def write_store(group: Any, matrix: Any, labels: list[str]) -> None:
    """Write an AnnData in its encoding into an HDF5 file or zarr store, whatever the matrix."""
    n_cells, n_genes = matrix.shape
    group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    x = group.create_group("X")
    form = matrix.format
    x.attrs.update(
        {
            "encoding-type": f"{form}_matrix",
            "encoding-version": "0.1.0",
            "shape": [n_cells, n_genes],
        }
    )
    for name in ("data", "indices", "indptr"):
        part = np.asarray(getattr(matrix, name))
        if part.dtype.kind == "U":
            part = part.astype("S3") if not hasattr(group, "create_array") else part.astype("f4")
        _array(x, name, part)
    for name, index, columns in (
        ("obs", [f"c{i}" for i in range(n_cells)], {"cell_type": labels}),
        ("var", [f"g{i}" for i in range(n_genes)], {}),
    ):
        frame = group.create_group(name)
        frame.attrs.update(
            {"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"}
        )
        frame.attrs["column-order"] = list(columns) if columns else np.zeros(0, "f8").tolist()
        for column, values in {"_index": index, **columns}.items():
            import anndata

            anndata.io.write_elem(frame, column, np.array(values, dtype=object))


def _array(group: Any, name: str, values: Any) -> None:
    if hasattr(group, "create_array"):
        group.create_array(name, data=np.ascontiguousarray(values))
    else:
        group.create_dataset(name, data=values)
