"""Cells held out for a test, in the proportions of their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.checks import real, whole
from vaexprs.data.opened import OpenCells
from vaexprs.errors import ConditionError, DataError, near_matches


def held_out_rows(
    cells: OpenCells, share: float, by: Sequence[str] = (), seed: int = 0
) -> NDArray[np.bool_]:
    """Return which cells a test holds out, ``(n_cells,)``: a share in (0, 1), chosen by the seed.

    ``by`` names columns of ``obs``: each combination of their labels gives that share of its
    cells, rounded to the nearest, and keeps one at least.
    """
    share, seed = real("test", share, 0, inclusive=False), whole("seed", seed, 0)
    n_cells = cells.shape[0]
    if share >= 1:
        raise DataError(f"the share of the test must lie between 0 and 1, got {share:g}.")
    group = np.zeros(n_cells, np.int64)
    for key in by:
        columns: Any = cells.obs if cells.obs is not None else {}
        if key not in columns:
            raise ConditionError(
                f"no column {key!r} in obs: " + near_matches(key, map(str, columns))
            )
        labels = np.array([str(label) for label in columns[key]])
        _, codes = np.unique(labels, return_inverse=True)
        _, group = np.unique(np.stack([group, codes]), axis=1, return_inverse=True)
    rng = np.random.default_rng(seed)
    held_out = np.zeros(n_cells, bool)
    for code in np.unique(group):
        members = np.flatnonzero(group == code)
        n_test = min(int(np.floor(len(members) * share + 0.5)), len(members) - 1)
        held_out[rng.permutation(members)[:n_test]] = True
    if not held_out.any():
        raise DataError(
            f"{n_cells} cells leave none for a test of {share:g} of them: hold out a larger share."
        )
    return held_out
