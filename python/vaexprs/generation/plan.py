"""How many cells of which condition, and which cell is of which.

A `Plan` maps the global index of a cell to a combination of categories. It is one of two kinds:

- *frequencies*, without end, a stratified sample: each window of 256 cells holds every combination
  in proportion to its training cells, to within a cell or two, in random order. So any range of
  cells, however cut, holds the frequencies, but for chance in the windows at its two ends; and any
  cells picked by their index (every k-th, the first 233) are a fair sample;
- *layout*, of a fixed total: runs of cells, one after the other, as a design asks for them.

Both answer for any range of cells without looking at the cells before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs import _core
from vaexprs.spec import Conditions


@dataclass(frozen=True, repr=False)
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
    request
        What was asked for, as `vaexprs.gen_exprs` takes it.
    """

    combinations: NDArray[np.int32]
    unseen: NDArray[np.bool_]
    total: int | None
    #: Upper bounds of shares of 2**64 (frequencies) or ends of runs (layout), ``(n_runs,)``.
    bounds: NDArray[np.uint64]
    #: Row of `combinations` of each run, ``(n_runs,)``, int32.
    run_groups: NDArray[np.int32]
    request: Any = None

    def __repr__(self) -> str:
        cells = "any number of cells" if self.total is None else f"{self.total:,} cells"
        n = len(self.combinations)
        unseen = (
            f", {int(self.unseen.sum())} of them unseen in training" if self.unseen.any() else ""
        )
        return f"Plan of {cells}: {n:,} combination{'s' * (n != 1)} of categories{unseen}"

    def groups(self, first_cell: int, n_cells: int, *, seed: int) -> NDArray[np.int32]:
        """Return the group of each cell of a range, ``(n_cells,)``, int32.

        Past the end of a layout the last run goes on, so that a whole tile can be computed.
        """
        return _core.plan_groups(
            self.bounds, self.run_groups, self.total is None,
            seed=seed, first_cell=first_cell, n_cells=n_cells,
        )  # fmt: skip

    def balanced(self) -> Plan:
        """Return an endless plan that gives every combination the same share of the cells."""
        return _by_shares(self.combinations, self.unseen, [1] * len(self.combinations))


def allowed_combinations(
    conditions: Conditions, allowed: Mapping[int, NDArray[np.int32]]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the combinations that a choice of categories allows, and their training cells."""
    seen = conditions.combinations
    keep = np.ones(len(seen), dtype=bool)
    for place, codes in allowed.items():
        keep &= np.isin(seen[:, place], codes)
    if keep.any():
        return seen[keep], conditions.n_cells[keep]
    # No training cell is like this: the keys that were left open follow their own frequencies.
    allowed = dict(sorted(allowed.items()))
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


def plan_by_frequencies(
    conditions: Conditions, codes: NDArray[np.int32], weights: NDArray[np.int64]
) -> Plan:
    """Make an endless plan that gives each combination its share of the cells."""
    return _by_shares(codes, _unseen(conditions, codes), weights.tolist())


def _by_shares(codes: NDArray[np.int32], unseen: NDArray[np.bool_], weights: list[int]) -> Plan:
    total, bounds, running = sum(weights), [], 0
    for weight in weights:
        running += weight
        bounds.append(min((running << 64) // total, 2**64 - 1))
    groups = np.arange(len(codes), dtype=np.int32)
    return Plan(codes, unseen, None, np.array(bounds, np.uint64), groups)


def plan_by_layout(
    conditions: Conditions,
    rows: Iterable[tuple[Mapping[int, NDArray[np.int32]], int]],
) -> Plan:
    """Make a plan of runs of cells, one row of the design after the other.

    Rows that allow the same combinations split all their cells by the training frequencies: of
    rows of single cells, each alone would take the most frequent combination.
    """
    runs: list[NDArray[np.int32]] = []
    lengths: list[int] = []
    # By the categories that a row allows: its combinations with their weights, and what each of
    # them is owed from earlier rows.
    known: dict[Any, tuple[NDArray[np.int32], NDArray[np.int64]]] = {}
    owed: dict[Any, list[int]] = {}
    for allowed, n_cells in rows:
        same = tuple((place, tuple(codes.tolist())) for place, codes in sorted(allowed.items()))
        if same not in known:
            known[same] = allowed_combinations(conditions, allowed)
        codes, weights = known[same]
        shares, owed[same] = _apportion(n_cells, weights, owed.get(same))
        for combination, share in zip(codes, shares, strict=True):
            if share:
                runs.append(combination)
                lengths.append(share)
    if not runs:  # no cell at all: one group that no cell uses keeps every shape sound
        runs, lengths = [conditions.combinations[0]], [0]
    codes, groups = np.unique(np.stack(runs), axis=0, return_inverse=True)
    ends = np.cumsum(np.array(lengths, dtype=np.uint64), dtype=np.uint64)
    of_runs = groups.ravel().astype(np.int32)
    return Plan(codes.astype(np.int32), _unseen(conditions, codes), sum(lengths), ends, of_runs)


def _apportion(
    total: int, weights: NDArray[np.int64], owed: list[int] | None = None
) -> tuple[list[int], list[int]]:
    """Split a number of cells by weights, exactly, with largest remainders (Hamilton's method).

    Returns the shares, and what each is owed: what it got too little, in cells times the sum of
    the weights. That is added to its due the next time, if it is given.
    """
    whole = int(weights.sum())
    due = [total * int(weight) for weight in weights]
    if owed is not None:
        due = [one + left for one, left in zip(due, owed, strict=True)]
    shares = [max(one // whole, 0) for one in due]
    rest = [one - share * whole for one, share in zip(due, shares, strict=True)]
    missing = total - sum(shares)
    for i in sorted(range(len(rest)), key=lambda i: (-rest[i], i))[: max(missing, 0)]:
        shares[i], rest[i] = shares[i] + 1, rest[i] - whole
    for _ in range(-missing):  # some have had more than their due already
        i = min((i for i, share in enumerate(shares) if share), key=lambda i: (rest[i], i))
        shares[i], rest[i] = shares[i] - 1, rest[i] + whole
    return shares, rest


def _unseen(conditions: Conditions, codes: NDArray[np.int32]) -> NDArray[np.bool_]:
    seen = set(map(tuple, conditions.combinations.tolist()))
    return np.array([tuple(row) not in seen for row in codes.tolist()], dtype=bool)
