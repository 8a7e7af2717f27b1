"""Requests of cells as a `Plan`: categories, sets, numbers of cells, labels, design tables."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import ConditionError
from vaexprs.generation.plan import (
    Plan,
    allowed_combinations,
    plan_by_frequencies,
    plan_by_layout,
)
from vaexprs.spec.conditions import N_CELLS, ConditionKey, Conditions

if TYPE_CHECKING:
    import pandas as pd

#: A category; its type is that of the labels in the data.
Category: TypeAlias = str | int | float | bool | np.generic
#: What a key may be asked for: a category, a set of them, numbers of cells by category (also as
#: a Series), or one category for each cell.
Wanted: TypeAlias = Union[
    Category,
    AbstractSet[Category],
    Mapping[Any, int],
    Sequence[Category],
    NDArray[Any],
    "pd.Series",
]
#: Which cells to make: by condition key, or as a table of designs; None: by training frequencies.
ConditionsLike: TypeAlias = Union[
    Mapping[str, Wanted], Sequence[Mapping[str, Any]], "pd.DataFrame", "pd.Series", None
]

#: Most cells of a design: up to here every index is exact in a float64, as JSON readers hold it.
_MOST_CELLS = 2**53

#: A whole number as spreadsheets write it: ``20``, ``20.0``, and ``20,0`` in half of Europe.
_WHOLE = re.compile(r"\s*([+-]?\d+)([.,]0*)?\s*", re.ASCII)


def make_plan(conditions: Conditions, request: Any = None) -> Plan:
    """Make the plan that a request asks for.

    Parameters
    ----------
    conditions
        The model's keys, categories and training frequencies.
    request
        None for the training frequencies; a mapping from condition keys to

        - a category: every cell has it;
        - a set of categories: those alone, by their training frequencies;
        - a mapping from categories to numbers of cells, or what ``value_counts()`` of pandas
          returns (for one key);
        - a sequence of categories, one for each cell of the run;

        or a table of designs, a list of mappings or a DataFrame, with a column ``n_cells`` and a
        column for each key; or a Series of numbers of cells whose index levels are named after
        keys. Keys left out follow the training frequencies, given the others.

    Raises
    ------
    ConditionError
        If a key or category is unknown, a number is negative, too large or not whole, or the
        parts of the request contradict each other.
    """
    if request is None:
        request = {}
    if hasattr(request, "to_frame") and hasattr(request, "reset_index"):  # a Series
        if None in request.index.names:
            raise ConditionError(
                "a Series as conditions needs an index whose levels are named after condition "
                "keys: pass a mapping such as {'cell_type': series} instead."
            )
        request = request.rename(N_CELLS).reset_index()
    if hasattr(request, "to_dict") and hasattr(request, "columns"):
        if not request.columns.is_unique:
            twice = request.columns[request.columns.duplicated()][0]
            raise ConditionError(f"the design table has two columns named {twice!r}.")
        request = request.to_dict("records")
    if isinstance(request, Mapping):
        return _plan_of_mapping(conditions, request)
    if isinstance(request, Sequence) and not isinstance(request, str | bytes):
        return _plan_of_table(conditions, request)
    raise ConditionError(
        "conditions must be a mapping of condition keys or a table with a column 'n_cells', "
        f"not {type(request).__name__}."
    )


def _plan_of_mapping(conditions: Conditions, request: Mapping[str, Any]) -> Plan:
    allowed: dict[int, NDArray[np.int32]] = {}
    counted: dict[int, Mapping[Any, Any]] = {}
    listed: dict[int, NDArray[np.int32]] = {}
    for name, wanted in request.items():
        key = conditions.key(str(name))
        place = conditions.keys.index(key)
        if place in allowed or place in counted or place in listed:
            raise ConditionError(f"condition {key.name!r} is given twice.")
        numbers = _numbers_of_cells(key, wanted)
        if numbers is not None:
            counted[place] = numbers
        elif isinstance(wanted, AbstractSet):
            if not wanted:
                raise ConditionError(f"condition {name!r} asks for an empty set of categories.")
            allowed[place] = np.unique([key.code(c) for c in wanted]).astype(np.int32)
        elif _is_label_array(wanted):
            listed[place] = np.array([key.code(c) for c in wanted], dtype=np.int32)
        else:
            allowed[place] = _one(key, wanted)
    if len(counted) > 1:
        names = " and ".join(repr(conditions.keys[place].name) for place in counted)
        raise ConditionError(
            f"numbers of cells are given for {names}, which leaves open how they cross: give a "
            "table of designs with a column 'n_cells'."
        )
    if counted and listed:
        raise ConditionError("give numbers of cells or one category for each cell, not both.")
    if listed:
        return _plan_of_labels(conditions, listed, allowed)
    for place, numbers in counted.items():
        key = conditions.keys[place]
        rows = [
            (allowed | {place: _one(key, category)}, _number(n, category))
            for category, n in numbers.items()
        ]
        return _plan_of_rows(conditions, rows)
    codes, weights = allowed_combinations(conditions, allowed)
    return plan_by_frequencies(conditions, codes, weights)


def _plan_of_table(conditions: Conditions, table: Sequence[Any]) -> Plan:
    rows = []
    for number, row in enumerate(table, start=1):
        if not isinstance(row, Mapping):
            raise ConditionError(
                f"row {number} of the design is a {type(row).__name__}, expected a mapping such "
                "as {'cell_type': 'NK', 'n_cells': 200}."
            )
        if N_CELLS not in row:
            raise ConditionError(
                f"row {number} of the design has no column {N_CELLS!r}, which says how many: its "
                f"columns are {', '.join(repr(str(name)) for name in row) or 'none'}."
            )
        allowed = {}
        for name, category in row.items():
            if name != N_CELLS:
                key = conditions.key(str(name))
                if _is_blank(category):
                    raise ConditionError(
                        f"row {number} of the design has no category of {key.name!r}: fill it in, "
                        "or leave the key out in a table or a mapping of its own."
                    )
                allowed[conditions.keys.index(key)] = _one(key, category)
        rows.append((allowed, _number(row[N_CELLS], f"row {number} of the design")))
    return _plan_of_rows(conditions, rows)


def _plan_of_labels(
    conditions: Conditions,
    listed: dict[int, NDArray[np.int32]],
    allowed: dict[int, NDArray[np.int32]],
) -> Plan:
    lengths = {len(codes) for codes in listed.values()}
    if len(lengths) > 1:
        raise ConditionError(f"the lists of categories differ in length: {sorted(lengths)}.")
    labels = np.stack(list(listed.values()), axis=1)
    changes = np.flatnonzero((labels[1:] != labels[:-1]).any(axis=1)) + 1
    starts = np.concatenate([[0], changes, [len(labels)]]) if len(labels) else np.zeros(1, int)
    rows = [
        (allowed | {p: labels[start, [i]] for i, p in enumerate(listed)}, int(end - start))
        for start, end in itertools.pairwise(starts)
    ]
    return plan_by_layout(conditions, rows)


def _plan_of_rows(
    conditions: Conditions, rows: list[tuple[dict[int, NDArray[np.int32]], int]]
) -> Plan:
    total = sum(n_cells for _, n_cells in rows)
    if total > _MOST_CELLS:
        raise ConditionError(f"the design asks for {total} cells in all, more than 2^53.")
    return plan_by_layout(conditions, rows)


def _one(key: ConditionKey, category: object) -> NDArray[np.int32]:
    return np.array([key.code(category)], np.int32)


def _is_blank(category: object) -> bool:
    if isinstance(category, str):
        return not category.strip()
    return category is None or str(category) in ("nan", "<NA>", "NaT")


def _number(value: Any, what: object) -> int:
    # int() refuses more than 4,300 digits with an error of its own
    text = _WHOLE.fullmatch(value) if isinstance(value, str) and len(value) < 100 else None
    if text is not None:
        value = int(text[1])
    elif isinstance(value, Real) and not isinstance(value, Integral):
        value = int(number) if (number := float(value)).is_integer() else value
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise ConditionError(
            f"the number of cells of {what!r} must be an integer, not {str(value)[:80]!r}."
        )
    if value < 0:
        raise ConditionError(f"the number of cells of {what!r} must not be negative: {value}.")
    return int(value)


def _numbers_of_cells(key: ConditionKey, wanted: Any) -> Mapping[Any, Any] | None:
    """Return numbers of cells by category, or None where a request holds labels."""
    if isinstance(wanted, Mapping):
        return wanted
    if not (hasattr(wanted, "index") and hasattr(wanted, "to_dict") and hasattr(wanted, "name")):
        return None
    # A Series: numbers of cells by category as value_counts() returns, or a label for each cell.
    if wanted.name not in ("count", "proportion"):
        if not wanted.index.is_unique or not _are_categories(key, wanted.index):
            return None
        if _are_categories(key, wanted.unique()):
            if type(wanted.index).__name__ == "RangeIndex":
                return None
            raise ConditionError(
                f"the Series given for {key.name!r} may hold numbers of cells or one label for "
                "each cell: pass series.to_dict() for numbers, series.to_list() for labels."
            )
    numbers: Mapping[Any, Any] = wanted.to_dict()
    return numbers


def _are_categories(key: ConditionKey, labels: Any) -> bool:
    try:
        return all(key.code(label) >= 0 for label in labels)
    except ConditionError:
        return False


def _is_label_array(wanted: Any) -> bool:
    if isinstance(wanted, str | bytes) or getattr(wanted, "ndim", 1) == 0:
        return False
    return isinstance(wanted, Sequence) or hasattr(wanted, "__array__")
