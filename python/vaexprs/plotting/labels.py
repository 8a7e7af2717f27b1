"""Labels of cells, in one order for every plot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import require
from vaexprs.plotting.cells import Cells

NO_LABEL = "no label"
#: There are as many colours; whole numbers with more different values are measurements.
MAX_CATEGORIES = 40
#: Columns that generation adds to obs; they are no condition.
_NOT_CONDITIONS = ("source", "library", "unseen_combination")


def shared_labels(cells: Sequence[Cells]) -> list[str]:
    """Return the obs columns of labels that all cells have, in the order of the last cells."""
    return [
        str(column)
        for column in cells[-1].obs.columns
        if column not in _NOT_CONDITIONS
        and all(column in part.obs.columns for part in cells)
        and not is_numeric(cells[-1].obs[column])
    ]


def is_numeric(column: Any) -> bool:
    """Return whether a column holds measurements; few distinct whole numbers are labels."""
    types = require("pandas", extra="plot", purpose="Plotting cells").api.types
    if types.is_bool_dtype(column) or not types.is_numeric_dtype(column):
        return False
    return not types.is_integer_dtype(column) or column.nunique() > MAX_CATEGORIES


def labels_of(cells: Cells, column: str) -> NDArray[np.object_]:
    """Return the labels of cells as strings, `NO_LABEL` where one is missing."""
    given = cells.obs[column]
    labels = np.array([str(label) for label in given.astype(object)], dtype=object)
    labels[given.isna().to_numpy()] = NO_LABEL
    return labels


def category_order(cells: Sequence[Cells], column: str) -> list[str]:
    """Return the labels that occur, in one order for every plot.

    Categories that are ordered come in their order and before other labels, which are sorted
    with numbers in them read as numbers.
    """
    present = {label for part in cells for label in labels_of(part, column)} - {NO_LABEL}
    dtype = cells[0].obs[column].dtype
    ordered = getattr(dtype, "ordered", False)
    known = [str(category) for category in dtype.categories] if ordered else []
    rest = sorted(present - set(known), key=_natural)
    return [label for label in known if label in present] + rest


def _natural(label: str) -> list[tuple[int, float, str]]:
    """Return a sort key under which ``type10`` comes after ``type2``."""
    return [
        (0, float(part), "") if part.isdecimal() else (1, 0.0, part)
        for part in re.split(r"(\d+)", label.casefold())
        if part
    ]
