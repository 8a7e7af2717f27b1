"""What a user asks for, as a `Plan`: categories, sets, numbers of cells, labels, design tables."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import ConditionError, near_matches
from vaexprs.generation.plan import (
    Plan,
    allowed_combinations,
    plan_by_frequencies,
    plan_by_layout,
)
from vaexprs.spec import Conditions

__all__ = ["N_CELLS", "make_plan"]

N_CELLS = "n_cells"


def make_plan(conditions: Conditions, request: Any = None) -> Plan:
    """Make the plan that a request asks for.

    Parameters
    ----------
    conditions
        What the model was told in training.
    request
        None for the training frequencies; a mapping from condition keys to

        - a category: every cell has it;
        - a set of categories: those alone, by their training frequencies;
        - a mapping from categories to numbers of cells (for one key);
        - a sequence of categories, one for each cell of the run;

        or a table of designs, a list of mappings or a DataFrame, with a column ``n_cells`` and a
        column for each key. Keys left out follow the training frequencies, given the others.

    Raises
    ------
    ConditionError
        If a key or category is unknown, a number is negative or no integer, or the parts of the
        request contradict each other.
    """
    if request is None:
        request = {}
    if hasattr(request, "to_dict") and hasattr(request, "columns"):
        request = request.to_dict("records")
    if isinstance(request, Mapping):
        return _plan_of_mapping(conditions, request)
    if isinstance(request, Sequence) and not isinstance(request, str):
        return _plan_of_table(conditions, request)
    raise ConditionError(
        "conditions must be a mapping of condition keys or a table with a column 'n_cells', "
        f"not {type(request).__name__}."
    )


def _plan_of_mapping(conditions: Conditions, request: Mapping[str, Any]) -> Plan:
    allowed: dict[int, NDArray[np.int32]] = {}
    counted: list[tuple[int, Mapping[Any, Any]]] = []
    listed: dict[int, NDArray[np.int32]] = {}
    for name, wanted in request.items():
        key = conditions.key(str(name))
        place = conditions.keys.index(key)
        if isinstance(wanted, Mapping):
            counted.append((place, wanted))
        elif isinstance(wanted, AbstractSet):
            if not wanted:
                raise ConditionError(f"condition {name!r} asks for an empty set of categories.")
            allowed[place] = np.array(sorted(key.code(c) for c in wanted), dtype=np.int32)
        elif _is_label_array(wanted):
            listed[place] = np.array([key.code(c) for c in wanted], dtype=np.int32)
        else:
            allowed[place] = np.array([key.code(wanted)], dtype=np.int32)
    if len(counted) > 1:
        names = " and ".join(repr(conditions.keys[place].name) for place, _ in counted)
        raise ConditionError(
            f"numbers of cells are given for {names}, which leaves open how they cross: give a "
            "table of designs with a column 'n_cells'."
        )
    if counted and listed:
        raise ConditionError("give numbers of cells or one category for each cell, not both.")
    if listed:
        return _plan_of_labels(conditions, listed, allowed)
    if counted:
        place, numbers = counted[0]
        key = conditions.keys[place]
        rows = [
            (allowed | {place: np.array([key.code(category)], np.int32)}, _number(n, category))
            for category, n in numbers.items()
        ]
        return plan_by_layout(conditions, rows)
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
                f"row {number} of the design has no column {N_CELLS!r}: "
                + near_matches(N_CELLS, map(str, row))
            )
        allowed = {}
        for name, category in row.items():
            if name != N_CELLS:
                key = conditions.key(str(name))
                allowed[conditions.keys.index(key)] = np.array([key.code(category)], np.int32)
        rows.append((allowed, _number(row[N_CELLS], f"row {number} of the design")))
    return plan_by_layout(conditions, rows)


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
        (
            allowed | {p: labels[start, [i]] for i, p in enumerate(listed)},
            int(end - start),
        )
        for start, end in itertools.pairwise(starts)
    ]
    return plan_by_layout(conditions, rows)


def _number(value: Any, what: object) -> int:
    if isinstance(value, str) and value.strip().lstrip("+-").isdigit():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise ConditionError(f"the number of cells of {what!r} must be an integer, not {value!r}.")
    if value < 0:
        raise ConditionError(f"the number of cells of {what!r} must not be negative: {value}.")
    return int(value)


def _is_label_array(wanted: Any) -> bool:
    if isinstance(wanted, str):
        return False
    return isinstance(wanted, Sequence | np.ndarray) or hasattr(wanted, "__array__")
