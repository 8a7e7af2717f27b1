"""How many cells of which condition, and which cell is of which.

A `Plan` maps the global index of a cell to a combination of categories. It is one of two kinds:

- *frequencies*, without end: cell ``i`` takes the combination in whose share of the unit interval
  the point ``frac(offset + i * 0.618...)`` falls. The additive recurrence with the golden ratio
  fills the interval evenly (Weyl 1916), so that any range of cells, however cut, holds each
  combination in proportion to its training cells, to within a cell or two;
- *layout*, of a fixed total: runs of cells, one after the other, as a design asks for them.

Both answer for any range of cells without looking at the cells before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs import _core
from vaexprs.errors import ConditionError, near_matches
from vaexprs.spec import Conditions

__all__ = ["N_CELLS", "Plan", "make_plan"]

N_CELLS = "n_cells"

# 2**64 divided by the golden ratio, to the nearest odd number (Knuth, TAOCP 3, section 6.4).
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Plan:
    """Which combination of categories each cell of a run has.

    Attributes
    ----------
    combinations
        Codes of the combinations that can occur, ``(n_groups, n_keys)``, int32.
    unseen
        Whether no training cell had a combination, ``(n_groups,)``.
    total
        Cells laid out, or None for a plan by frequencies, which has no end.
    """

    combinations: NDArray[np.int32]
    unseen: NDArray[np.bool_]
    total: int | None
    _bounds: NDArray[np.uint64]  # frequencies: upper bounds of shares; layout: ends of runs
    _run_groups: NDArray[np.int32]

    def groups(self, first_cell: int, n_cells: int, *, seed: int) -> NDArray[np.int32]:
        """Return the group of each cell of a range, ``(n_cells,)``, int32.

        Past the end of a layout the last run goes on, so that a whole tile can be computed.
        """
        index = np.arange(n_cells, dtype=np.uint64) + np.uint64(first_cell)
        if self.total is None:
            point = np.empty((1, 1))
            _core.fill_uniform(point, seed=seed, purpose="condition")
            offset = np.uint64(point[0, 0] * 2.0**53) << np.uint64(11)
            index = index * _GOLDEN + offset  # wraps around: the fractional part in 64 bits
        run = np.searchsorted(self._bounds, index, side="right")
        return self._run_groups[np.minimum(run, len(self._run_groups) - 1)]


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
        return _layout(conditions, rows)
    codes, weights = _shares(conditions, allowed)
    return _frequencies(conditions, codes, weights)


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
    return _layout(conditions, rows)


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
    return _layout(conditions, rows)


def _shares(
    conditions: Conditions, allowed: Mapping[int, NDArray[np.int32]]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the combinations that a choice of categories leaves, and their training cells."""
    seen = conditions.combinations
    keep = np.ones(len(seen), dtype=bool)
    for place, codes in allowed.items():
        keep &= np.isin(seen[:, place], codes)
    if keep.any():
        return seen[keep], conditions.n_cells[keep]
    # No training cell is like this: the keys that were left open follow their own frequencies.
    open_places = [place for place in range(len(conditions.keys)) if place not in allowed]
    grids = np.meshgrid(*allowed.values(), indexing="ij")
    asked = np.stack([grid.ravel() for grid in grids], axis=1)
    rest, inverse = np.unique(seen[:, open_places], axis=0, return_inverse=True)
    n_rest = np.zeros(len(rest), dtype=np.int64)
    np.add.at(n_rest, inverse.ravel(), conditions.n_cells)
    codes = np.empty((len(asked), len(rest), len(conditions.keys)), dtype=np.int32)
    codes[:, :, list(allowed)] = asked[:, None, :]
    codes[:, :, open_places] = rest[None, :, :]
    return codes.reshape(-1, len(conditions.keys)), np.tile(n_rest, len(asked))


def _frequencies(
    conditions: Conditions, codes: NDArray[np.int32], weights: NDArray[np.int64]
) -> Plan:
    total, bounds, running = int(weights.sum()), [], 0
    for weight in weights.tolist():
        running += weight
        bounds.append(min((running << 64) // total, 2**64 - 1))
    groups = np.arange(len(codes), dtype=np.int32)
    return Plan(codes, _unseen(conditions, codes), None, np.array(bounds, np.uint64), groups)


def _layout(
    conditions: Conditions, rows: Iterable[tuple[Mapping[int, NDArray[np.int32]], int]]
) -> Plan:
    runs: list[NDArray[np.int32]] = []
    lengths: list[int] = []
    for allowed, n_cells in rows:
        codes, weights = _shares(conditions, allowed)
        for combination, share in zip(codes, _apportion(n_cells, weights), strict=True):
            if share:
                runs.append(combination)
                lengths.append(share)
    if not runs:  # no cell at all: one group that no cell uses keeps every shape sound
        runs, lengths = [conditions.combinations[0]], [0]
    codes, groups = np.unique(np.stack(runs), axis=0, return_inverse=True)
    ends = np.cumsum(np.array(lengths, dtype=np.uint64), dtype=np.uint64)
    return Plan(
        codes.astype(np.int32),
        _unseen(conditions, codes),
        sum(lengths),
        ends,
        groups.ravel().astype(np.int32),
    )


def _apportion(total: int, weights: NDArray[np.int64]) -> list[int]:
    """Split a number of cells by weights, exactly, with largest remainders (Hamilton's method)."""
    whole = int(weights.sum())
    shares = [total * int(weight) // whole for weight in weights]
    remainders = [total * int(weight) % whole for weight in weights]
    by_remainder = sorted(range(len(shares)), key=lambda i: (-remainders[i], i))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def _unseen(conditions: Conditions, codes: NDArray[np.int32]) -> NDArray[np.bool_]:
    seen = set(map(tuple, conditions.combinations.tolist()))
    return np.array([tuple(row) not in seen for row in codes.tolist()], dtype=bool)


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
