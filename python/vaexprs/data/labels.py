"""Labels of cells: from columns in any form to categories and codes."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import ConditionError, DataError, require
from vaexprs.spec.conditions import ConditionKey, LabelType, label_text

_log = logging.getLogger("vaexprs")


def labels_as_columns(
    labels: Any, condition_keys: str | Sequence[str] | None
) -> tuple[str | Sequence[str] | None, Mapping[str, Any]]:
    """Give the labels that came with an array the form of obs columns."""
    if labels is None:
        return condition_keys, {}
    if isinstance(labels, Mapping) or hasattr(labels, "columns"):
        columns = {str(name): labels[name] for name in labels}
        return (list(columns) if condition_keys is None else condition_keys), columns
    names = key_names(condition_keys)
    if len(names) > 1:
        raise ConditionError(
            f"one sequence of labels came for {len(names)} condition keys: pass a mapping "
            "from each key to its labels."
        )
    return names or ["label"], {(names or ["label"])[0]: labels}


def key_names(condition_keys: Any) -> list[str]:
    """Return the names of one condition key, of several, or of none."""
    if condition_keys is None:
        return []
    one = isinstance(condition_keys, str) or not isinstance(condition_keys, Iterable)
    names = [condition_keys] if one else list(condition_keys)
    if not all(isinstance(name, str) for name in names):
        raise ConditionError(
            "a condition key is the name of a column, and several are a list of names, not "
            f"{condition_keys!r}."
        )
    return names


def in_order_of(index: Any, labels: Any, name: str) -> Any:
    """Return labels of a data frame's rows in their order: a Series is matched by its index.

    Labels without an index, or with the default one, are in that order already.
    """
    own: Any = getattr(labels, "index", None)
    if not hasattr(own, "equals") or own.equals(index) or type(own).__name__ == "RangeIndex":
        return labels
    if own.is_unique and len(own) == len(index) and index.isin(own).all():
        return labels.reindex(index)
    raise DataError(
        f"the index of the labels under {name!r} is not that of the data frame, such as "
        f"{own[0]!r} and {index[0]!r}: give both the same, or pass labels.to_numpy(), which are "
        "taken in order."
        if len(own)
        else f"there are no labels under {name!r} for {len(index)} cells."
    )


def encode_labels(
    name: str, column: Any, known: ConditionKey | None, missing: str | None = None
) -> tuple[ConditionKey, NDArray[np.int32]]:
    """Return a column of labels as a key and codes, ``(n_cells,)``; the column stays as it is.

    Cells without a label get the label `missing`, or are refused where it is None.
    """
    pandas = require("pandas", extra="anndata", purpose="Reading labels")
    shape = column.shape if hasattr(column, "shape") else np.asarray(column, object).shape
    if len(shape) != 1:
        raise DataError(
            f"the labels under {name!r} have the shape {shape}: expected one label for "
            "each cell; pass several as a mapping from each key to its labels."
        )
    series = pandas.Series(column).reset_index(drop=True)
    if series.dtype == object:
        _check_labels(name, series)
    n_missing = int(series.isna().sum())
    if n_missing and missing is not None:
        if isinstance(series.dtype, pandas.CategoricalDtype):
            if missing not in series.cat.categories:
                series = series.cat.add_categories([missing])
        elif series.dtype != object:
            series = series.astype(object)
        series = series.fillna(missing)
    elif n_missing:
        raise DataError(
            f"{n_missing} of {len(series)} cells have no label under {name!r}: fill them in, as in "
            f"adata.obs[{name!r}].astype(object).fillna('unknown'), or leave these cells out; "
            "a fit fills them in with missing='unknown' (vaexprs fit --missing unknown)."
        )
    if isinstance(series.dtype, pandas.CategoricalDtype):
        categorical = series.cat
        ordered, values = bool(categorical.ordered), list(categorical.categories)
        raw = categorical.codes.to_numpy().astype(np.int64)
    else:
        if pandas.api.types.is_float_dtype(series.dtype):
            whole = np.isfinite(series) & (series == series.round())
            if not whole.all():
                raise DataError(
                    f"{name!r} holds numbers that are not whole, such as "
                    f"{series[~whole].iloc[0]:g}: a condition needs categories: cut them into "
                    f"ranges with pandas.cut, or, if they are few levels, use "
                    f"adata.obs[{name!r}].astype('category')."
                )
        found = series.unique().tolist()
        try:
            values = sorted(found)
        except TypeError:  # labels of mixed types
            values = sorted(found, key=str)
        ordered = False
        position = {value: code for code, value in enumerate(values)}
        raw = np.array([position[value] for value in series.tolist()], dtype=np.int64)
    _check_labels(name, values)
    used = np.unique(raw)
    if len(used) < len(values):
        _log.info("%r: left out %d categories without cells", name, len(values) - len(used))
    values = [values[code] for code in used]
    values = [value.item() if isinstance(value, np.generic) else value for value in values]
    categories = [label_text(value) for value in values]
    codes = np.searchsorted(used, raw)
    check_text(categories, f"labels under {name!r}")
    if any(not category.strip() for category in categories):
        raise DataError(
            f"some labels under {name!r} are empty: name that category, or leave its cells out."
        )
    if len(set(categories)) != len(categories):
        twice = next(c for c in categories if categories.count(c) > 1)
        raise DataError(
            f"two categories of {name!r} read the same as text: {twice!r}. Rename one of them."
        )
    if known is None:
        key = ConditionKey(name, tuple(categories), ordered, _type_of(values))
        return key, codes.astype(np.int32)
    translation = np.array([known.code(value) for value in values], dtype=np.int32)
    return known, translation[codes]


def _check_labels(name: str, labels: Iterable[Any]) -> None:
    """Refuse labels that are no text, number or bool."""
    for label in labels:
        if isinstance(label, bytes) or not isinstance(label, Hashable):
            raise DataError(
                f"a label under {name!r} is {type(label).__name__}, such as {str(label)[:60]}: "
                "expected text, whole numbers or bools"
                + (": decode it, as in label.decode()." if isinstance(label, bytes) else ".")
            )


def _type_of(values: Sequence[Any]) -> LabelType:
    """Return the type that all labels share, text where they share none that a file can hold."""
    if all(isinstance(value, bool) for value in values):
        return "bool"
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return "str"
    if all(isinstance(value, int) for value in values):
        return "int" if all(-(2**63) <= value < 2**63 for value in values) else "str"
    return "float" if np.isfinite(values).all() else "str"


def check_text(names: Iterable[str], what: str) -> None:
    """Refuse names that no file can hold."""
    for name in names:
        if "\0" in name or not _is_unicode(name):
            raise DataError(f"{what} must be text, but {name!r} is none: rename it.")


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True
