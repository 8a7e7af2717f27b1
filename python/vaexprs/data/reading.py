"""`read_expression`: from cells of any kind to `ExpressionData`, checked and never changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaexprs.data.expression import ExpressionData
from vaexprs.data.labels import (
    check_text,
    encode_labels,
    in_order_of,
    key_names,
    labels_as_columns,
)
from vaexprs.data.matrices.chunked import Chunked
from vaexprs.data.open import open_cells
from vaexprs.data.scale import scale_of
from vaexprs.errors import ConditionError, DataError, near_matches
from vaexprs.spec.conditions import ConditionKey, name_problem

__all__ = ["read_expression"]


def read_expression(
    data: Any,
    *,
    condition_keys: str | Sequence[str] | None = None,
    labels: ArrayLike | Mapping[str, ArrayLike] | None = None,
    layer: str | None = None,
    raw: bool = False,
    missing: str | None = None,
    drop_empty: bool = False,
    known_keys: tuple[ConditionKey, ...] | None = None,
    genes: tuple[str, ...] | None = None,
    chunked: bool = False,
    in_memory: bool | None = None,
) -> ExpressionData:
    """Read expression values and conditions from cells of any kind.

    Parameters
    ----------
    data
        What `vaexprs.data.open.open_cells` takes: a path, an AnnData, or cells x genes values.
    condition_keys
        Columns of ``obs`` that condition the model: categoricals (their order is kept,
        categories without cells are left out), strings, bools or whole numbers.
    labels
        In place of ``obs`` where `data` is no AnnData: one label per cell, or a mapping from
        names to labels. A plain sequence is called `condition_keys`, or ``"label"``.
    layer
        Layer of the AnnData to read instead of ``X``.
    raw
        Read ``raw`` of the AnnData instead of ``X``.
    missing
        Category of the cells that have no label; without it they are refused.
    drop_empty
        Leave out the cells whose values are all zero.
    known_keys
        Read the conditions with these categories instead of those found, as when new cells
        are encoded by a fitted model.
    genes
        Pick these genes, in this order, instead of all.
    chunked
        Whether a matrix that is larger than a chunk comes as `Chunked`.
    in_memory
        Of such a matrix in a file, whether it is read as a whole; see `OpenCells.chunked`.

    Returns
    -------
    ExpressionData
        Finite float32 values with unique gene names.

    Raises
    ------
    DataError
        If the cells cannot be read, values are missing, infinite, or not numbers, gene names
        repeat, labels are missing or empty, or there is no cell or no gene.
    ConditionError
        If a column or a category is not known, or no file could hold a key's name.
    """
    cells = open_cells(data)
    columns: Any
    if cells.obs is not None:
        if labels is not None:
            raise DataError(
                "labels are for arrays; of an AnnData, name columns of obs by condition_keys."
            )
        columns, names_of_cells = cells.obs, [str(name) for name in cells.obs.index]
    else:
        condition_keys, columns = labels_as_columns(labels, condition_keys)
        index = getattr(data, "index", None) if cells.var_names is not None else None
        if index is not None:
            columns = {name: in_order_of(index, each, name) for name, each in columns.items()}
        names_of_cells = [str(name) for name in (range(cells.shape[0]) if index is None else index)]
    source = cells.source(layer, raw)
    X = cells.chunked(layer, raw, in_memory) if chunked else cells.matrix(layer, raw)
    n_cells, n_genes = X.shape
    if n_cells == 0 or n_genes == 0:
        raise DataError(
            f"{source} holds {n_cells} cells x {n_genes} genes: expected at least one of each."
        )
    names = cells.genes(raw) or [f"gene{index}" for index in range(n_genes)]
    check_text(names, "gene names")
    _check_unique(names)
    var = cells.var(raw)
    if genes is not None and tuple(names) != genes:
        X, names = _picked(X, _positions(names, genes)), list(genes)
        var = {}
    keys, codes = _read_keys(columns, condition_keys, known_keys, n_cells, missing)
    result = ExpressionData(
        X, tuple(names), tuple(names_of_cells), keys, codes, source, cells.layers,
        layer, raw, () if scale_of(X) in ("counts", "binary") else cells.counts_in(),
        var,
    )  # fmt: skip
    if not result.is_finite:
        value, where, n = result.first(lambda values: ~np.isfinite(values))
        raise DataError(
            f"{source} holds {value} ({where}; {n} in all): expression values must be finite "
            "numbers."
        )
    if drop_empty and (kept := np.flatnonzero(result.library != 0)).size < n_cells:
        if kept.size == 0:
            raise DataError(f"{source} holds only zeros: there is nothing to learn from.")
        result = result.take(kept)
    return result


def _read_keys(
    columns: Any,
    condition_keys: str | Sequence[str] | None,
    known_keys: tuple[ConditionKey, ...] | None,
    n_cells: int,
    missing: str | None,
) -> tuple[tuple[ConditionKey, ...], NDArray[np.int32]]:
    """Return the condition keys and the code of each cell under each, ``(n_cells, n_keys)``."""
    wanted = key_names(condition_keys)
    if known_keys is not None:
        wanted = [key.name for key in known_keys]
    if len(set(wanted)) != len(wanted):
        raise ConditionError(f"condition keys must be unique, got {wanted}.")
    there = {str(name): name for name in columns}
    n_named = Counter(map(str, columns))
    keys: list[ConditionKey] = []
    codes = np.zeros((n_cells, len(wanted)), np.int32)
    for index, name in enumerate(wanted):
        check_text([name], "condition keys")
        if name not in there:
            raise ConditionError(f"no column {name!r} in obs: " + near_matches(name, there))
        if n_named[name] > 1:
            raise ConditionError(
                f"{n_named[name]} columns of obs are named {name!r}: rename all but one of them."
            )
        column = columns[there[name]]
        if len(column) != n_cells:
            raise DataError(
                f"{len(column)} labels under {name!r} for {n_cells} cells: expected one "
                "label per cell."
            )
        known = known_keys[index] if known_keys is not None else None
        key, codes[:, index] = encode_labels(name, column, known, missing)
        keys.append(key)
    problem = name_problem(keys)
    if problem is not None:
        raise ConditionError(problem + ".")
    return tuple(keys), codes


def _picked(X: Any, columns: NDArray[np.int64]) -> Any:
    if isinstance(X, Chunked):
        return X.map(lambda block: block[:, columns], len(columns))
    return X[:, columns]


def _check_unique(names: list[str]) -> None:
    counts = Counter(names)
    if len(counts) < len(names):
        first = next(name for name in names if counts[name] > 1)
        raise DataError(
            f"{len(names) - len(counts)} gene names repeat (first: {first!r}): make them unique, "
            "for example with adata.var_names_make_unique()."
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
