"""Labels of cells, in one order for every plot."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vaexprs.plotting.cells import Cells

__all__ = ["NO_LABEL", "category_order", "labels_of"]

#: What a cell without a label is called.
NO_LABEL = "no label"


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
    known: list[str] = []
    dtype = cells[0].obs[column].dtype
    if getattr(dtype, "ordered", False):
        known = [str(category) for category in dtype.categories]
    rest = sorted(present - set(known), key=_natural)
    return [label for label in known if label in present] + rest


def _natural(label: str) -> list[tuple[int, float, str]]:
    """Sort key under which ``type10`` comes after ``type2``."""
    return [
        (0, float(part), "") if part.isdecimal() else (1, 0.0, part)
        for part in re.split(r"(\d+)", label.casefold())
        if part
    ]
