"""Labels of cells in one order for every plot, and colours of cells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import DataError, near_matches, require
from vaexprs.plotting.cells import Cells
from vaexprs.style import CONTROL, GENERATED, MISSING, colours

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


@dataclass(frozen=True)
class Colouring:
    """Colours of real and generated cells, and the entries of a legend."""

    title: str  # Name of the column or gene; empty for the source.
    # Colour of each cell, ``(n_cells,)`` strings, or its number, ``(n_cells,)`` floats.
    real: NDArray[Any]
    generated: NDArray[Any]
    # Label and colour of each category, in order; empty for numbers.
    entries: tuple[tuple[str, str], ...] = ()

    @property
    def is_numeric(self) -> bool:
        """Whether cells have numbers rather than colours."""
        return self.real.dtype.kind == "f"


def choose_colouring(real: Cells, generated: Cells, color: str | None) -> Colouring:
    """Colour cells by a column, a gene or their source."""
    sides = (real, generated)
    labels = shared_labels(sides)
    if color is None:
        color = labels[0] if labels else "source"
    if color == "source":
        inks = (CONTROL, GENERATED)
        each = [np.full(len(side), ink) for side, ink in zip(sides, inks, strict=True)]
        entries = tuple(zip(("real", "generated"), inks, strict=True))
        return Colouring("", each[0], each[1], entries)
    if all(color in side.obs.columns for side in sides):
        columns = [side.obs[color] for side in sides]
        if all(is_numeric(column) for column in columns):
            return Colouring(color, *(column.to_numpy(dtype=float) for column in columns))
        return _categories(sides, color)
    genes = [side.gene(color) for side in sides]
    if genes[0] is not None and genes[1] is not None:
        return Colouring(color, genes[0], genes[1])
    lacking = [
        side.name
        for side, gene in zip(sides, genes, strict=True)
        if color not in side.obs.columns and gene is None
    ]
    raise DataError(
        f"color={color!r} is neither an obs column nor a gene of the "
        f"{' and the '.join(lacking) or 'real and of the generated'} cells: "
        + near_matches(color, [*labels, "source"])
    )


def _categories(sides: tuple[Cells, Cells], column: str) -> Colouring:
    order = category_order(sides, column)
    labels = [labels_of(side, column) for side in sides]
    named = order
    if len(order) > MAX_CATEGORIES:  # the rarest share one colour
        count = Counter(np.concatenate(labels).tolist())
        frequent = sorted(order, key=lambda label: -count[label])[: MAX_CATEGORIES - 1]
        named = [label for label in order if label in set(frequent)]
    colour_of = dict(zip(named, colours(len(named)), strict=True))
    entries = list(colour_of.items())
    if len(named) < len(order):
        entries.append((f"{len(order) - len(named):,} others", MISSING))
    if any((side == NO_LABEL).any() for side in labels):
        entries.append((NO_LABEL, MISSING))
    each = [np.array([colour_of.get(label, MISSING) for label in side]) for side in labels]
    return Colouring(column, each[0], each[1], tuple(entries))
