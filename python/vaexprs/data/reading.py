"""`read_expression`: an AnnData, a matrix or a data frame in, `ExpressionData` out.

It takes a view, a file-backed AnnData, a matrix or a data frame with labels as well, or says what
is wrong with it. It never changes what it was given and never turns a sparse matrix into a dense
one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaexprs.data.expression import ExpressionData
from vaexprs.data.labels import check_text, encode_labels, labels_as_columns
from vaexprs.errors import ConditionError, DataError, near_matches, require
from vaexprs.spec.conditions import ConditionKey, name_problem

__all__ = ["read_expression"]

#: Rows read at a time from a dense matrix that lies in a file.
_ROWS_PER_READ = 1024


def read_expression(
    data: Any,
    *,
    condition_keys: str | Sequence[str] | None = None,
    labels: ArrayLike | Mapping[str, ArrayLike] | None = None,
    layer: str | None = None,
    known_keys: tuple[ConditionKey, ...] | None = None,
    genes: tuple[str, ...] | None = None,
) -> ExpressionData:
    """Read expression values and conditions from what a user has.

    Parameters
    ----------
    data
        An AnnData (also a view, also file-backed), or cells x genes values: an array, a sparse
        matrix, a pandas data frame whose columns name the genes.
    condition_keys
        Columns of ``obs`` that the model is told about: categoricals (their order is kept,
        categories without cells are left out), strings, bools or whole numbers.
    labels
        In place of ``obs`` where `data` is no AnnData: one label per cell, or a mapping from
        names to labels. A plain sequence is called `condition_keys`, or ``"label"``.
    layer
        Layer of the AnnData to read instead of ``X``.
    known_keys
        Read the conditions with these categories instead of those found, as when new cells
        are encoded by a fitted model.
    genes
        Pick these genes, in this order, instead of all.

    Returns
    -------
    ExpressionData
        Finite float32 values with unique gene names.

    Raises
    ------
    DataError
        If values are missing, infinite, or not numbers, gene names repeat, labels are missing
        or empty, or there is no cell or no gene.
    ConditionError
        If a column or a category is not known.
    """
    columns: Mapping[str, Any]
    layers: tuple[str, ...] = ()
    if _is_anndata(data):
        if labels is not None:
            raise DataError(
                "labels are for arrays; of an AnnData, name columns of obs by condition_keys."
            )
        matrix, source, layers = _matrix_of(data, layer)
        names = [str(name) for name in data.var_names]
        cells = [str(name) for name in data.obs_names]
        columns = {str(name): data.obs[name] for name in data.obs.columns}
    else:
        if layer is not None:
            raise DataError("layer is for AnnData objects; pass the array that you mean.")
        matrix, source = data, "the array"
        if type(data).__module__.partition(".")[0] == "pandas":
            matrix, names = data.to_numpy(), [str(name) for name in data.columns]
            cells = [str(name) for name in data.index]
        else:
            if len(getattr(matrix, "shape", np.shape(matrix))) != 2:
                raise DataError(
                    "expected an AnnData or a cells x genes matrix, got "
                    f"{type(data).__name__} of shape {np.shape(data)}."
                )
            names, cells = [], []
        condition_keys, columns = labels_as_columns(labels, condition_keys)

    X = _canonical(matrix, source)
    n_cells, n_genes = X.shape
    names = names or [f"gene{index}" for index in range(n_genes)]
    cells = cells or [str(index) for index in range(n_cells)]
    if n_cells == 0 or n_genes == 0:
        raise DataError(
            f"there is nothing to learn from: {source} holds {n_cells} cells x {n_genes} genes."
        )
    check_text(names, "gene names")
    _check_unique(names)
    if genes is not None and tuple(names) != genes:
        X, names = X[:, _positions(names, genes)], list(genes)
    result = ExpressionData(
        X, tuple(names), tuple(cells), (), np.zeros((n_cells, 0), np.int32), source, layers
    )
    bad = ~np.isfinite(result._values)
    if bad.any():
        raise DataError(
            f"{source} holds {result._values[bad][0]} ({result._where(bad)}; "
            f"{int(bad.sum())} in all): expression values must be finite numbers."
        )

    wanted = [key.name for key in known_keys] if known_keys is not None else condition_keys
    wanted = [wanted] if isinstance(wanted, str) else list(wanted or ())
    if len(set(wanted)) != len(wanted):
        raise ConditionError(f"condition keys must be unique, got {wanted}.")
    keys, codes = [], []
    for index, name in enumerate(wanted):
        check_text([name], "condition keys")
        if name not in columns:
            raise ConditionError(f"no column {name!r} in obs: " + near_matches(name, columns))
        if len(columns[name]) != n_cells:
            raise DataError(
                f"{len(columns[name])} labels under {name!r} for {n_cells} cells: expected one "
                "label per cell."
            )
        known = known_keys[index] if known_keys is not None else None
        key, code = encode_labels(name, columns[name], known)
        keys.append(key)
        codes.append(code)
    problem = name_problem(keys)
    if problem is not None:
        raise ConditionError(problem + ".")
    stacked = np.stack(codes, axis=1) if codes else np.zeros((n_cells, 0), np.int32)
    return replace(result, keys=tuple(keys), codes=stacked)


def _is_anndata(data: Any) -> bool:
    return all(hasattr(data, name) for name in ("obs", "var_names", "obs_names", "layers"))


def _matrix_of(adata: Any, layer: str | None) -> tuple[Any, str, tuple[str, ...]]:
    # anndata 0.13 lists X itself as the layer None
    layers = tuple(str(name) for name in adata.layers if name is not None)
    if layer is None:
        if adata.X is None:
            raise DataError(f"X is empty; name one of the layers: {', '.join(layers) or 'none'}.")
        return adata.X, "X", tuple(name for name in layers)
    if layer not in layers:
        raise DataError(f"no layer {layer!r}: " + near_matches(layer, layers))
    return adata.layers[layer], f"layer {layer!r}", layers


def _canonical(matrix: Any, source: str) -> Any:
    """Return float32 CSR with sorted indices and no stored zeros, or a float32 array."""
    sparse = require("scipy.sparse", extra="anndata", purpose="Reading expression data")
    if hasattr(matrix, "to_memory"):  # a sparse matrix in a file
        matrix = matrix.to_memory()
    elif hasattr(matrix, "compute"):  # a dask array
        matrix = matrix.compute()
    elif hasattr(matrix, "chunks") and hasattr(matrix, "id"):  # a dense matrix in an HDF5 file
        blocks = [
            sparse.csr_matrix(np.asarray(matrix[start : start + _ROWS_PER_READ], np.float32))
            for start in range(0, matrix.shape[0], _ROWS_PER_READ)
        ]
        matrix = sparse.vstack(blocks, format="csr") if blocks else np.zeros(matrix.shape)
    try:
        if not sparse.issparse(matrix):
            matrix = np.asarray(matrix)
        if matrix.dtype.kind not in "biufO":
            raise TypeError(f"its values are of type {matrix.dtype}")
        if not sparse.issparse(matrix):
            return np.ascontiguousarray(matrix, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{source} does not hold numbers: {error}.") from error
    csr = sparse.csr_matrix(matrix, dtype=np.float32)  # shares memory where nothing changes
    if not csr.has_canonical_format or (csr.data == 0).any():
        csr = csr.copy()
        csr.sum_duplicates()
        csr.eliminate_zeros()
    return csr


def _check_unique(names: Iterable[str]) -> None:
    seen: set[str] = set()
    repeated = [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    if repeated:
        raise DataError(
            f"{len(repeated)} gene names repeat (first: {repeated[0]!r}): make them unique, for "
            "example with adata.var_names_make_unique()."
        )


def _positions(names: list[str], genes: tuple[str, ...]) -> NDArray[np.int64]:
    where = {name: index for index, name in enumerate(names)}
    missing = [gene for gene in genes if gene not in where]
    if missing:
        raise DataError(
            f"{len(missing)} of the model's {len(genes)} genes are not in the data (first: "
            f"{missing[0]!r}): give the data all genes that the model was trained on."
        )
    return np.array([where[gene] for gene in genes], dtype=np.int64)
