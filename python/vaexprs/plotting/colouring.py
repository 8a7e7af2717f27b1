"""What the colours of cells stand for: a label, a measurement, or where a cell is from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import DataError, near_matches, require
from vaexprs.plotting.cells import Cells
from vaexprs.plotting.labels import NO_LABEL, category_order, labels_of
from vaexprs.plotting.style import palette

__all__ = ["MAX_CATEGORIES", "Colouring", "choose_colouring"]

#: More categories than this are told apart by nobody: the rarest share one colour.
MAX_CATEGORIES = 40
#: Columns that generation adds to obs; they are no condition.
_NOT_CONDITIONS = ("source", "library", "unseen_combination")
#: Sources, where they are all that is known of a cell.
_SOURCES = ("#8b93a1", "#d55e00")


@dataclass(frozen=True)
class Colouring:
    """Colours of real and generated cells, and what a legend says of them.

    Attributes
    ----------
    title
        What is shown: the name of a column or of a gene; empty for the source.
    real, generated
        Colour of each cell, ``(n_cells,)`` strings, or its number, ``(n_cells,)`` floats.
    entries
        Label and colour of each category, in order; empty for numbers.
    """

    title: str
    real: NDArray[Any]
    generated: NDArray[Any]
    entries: tuple[tuple[str, str], ...] = ()

    @property
    def is_numeric(self) -> bool:
        """Whether cells have numbers rather than colours."""
        return self.real.dtype.kind == "f"


def choose_colouring(real: Cells, generated: Cells, color: str | None) -> Colouring:
    """Decide what colours show.

    Parameters
    ----------
    real, generated
        Cells; genes are shown on the scale that these have.
    color
        An ``obs`` column of both, a gene of both, or ``"source"``. None: the first shared column
        with labels, or else the source.

    Raises
    ------
    DataError
        If there is no such column or gene on either side.
    """
    shared = [
        str(column)
        for column in generated.obs.columns
        if column in real.obs.columns and column not in _NOT_CONDITIONS
    ]
    if color is None:
        labels = [column for column in shared if not _numeric(generated.obs[column])]
        color = labels[0] if labels else "source"
    if color == "source":
        entries = (("real", _SOURCES[0]), ("generated", _SOURCES[1]))
        sides = [np.full(len(cells), _SOURCES[i]) for i, cells in enumerate((real, generated))]
        return Colouring("", sides[0], sides[1], entries)
    if color in generated.obs.columns and color in real.obs.columns:
        columns = real.obs[color], generated.obs[color]
        if all(_numeric(column) for column in columns):
            return Colouring(color, *(column.to_numpy(dtype=float) for column in columns))
        return _categories(real, generated, color)
    genes = real.gene(color), generated.gene(color)
    if genes[0] is not None and genes[1] is not None:
        return Colouring(color, genes[0], genes[1])
    lacking = " and the ".join(
        cells.name
        for cells, gene in zip((real, generated), genes, strict=True)
        if color not in cells.obs.columns and gene is None
    )
    raise DataError(
        f"color={color!r} is neither an obs column nor a gene of the "
        f"{lacking or 'real and of the generated'} cells: "
        + near_matches(color, [*shared, "source"])
    )


def _numeric(column: Any) -> bool:
    """Whether a column holds measurements; few distinct whole numbers are labels."""
    types = require("pandas", extra="plot", purpose="Plotting cells").api.types
    if types.is_bool_dtype(column) or not types.is_numeric_dtype(column):
        return False
    return not types.is_integer_dtype(column) or column.nunique() > MAX_CATEGORIES


def _categories(real: Cells, generated: Cells, column: str) -> Colouring:
    order = category_order((real, generated), column)
    sides = labels_of(real, column), labels_of(generated, column)
    named = order
    if len(order) > MAX_CATEGORIES:
        labels, counts = np.unique(np.concatenate(sides).astype(str), return_counts=True)
        frequency = dict(zip(labels.tolist(), counts.tolist(), strict=True))
        frequent = sorted(order, key=lambda label: -frequency[label])[: MAX_CATEGORIES - 1]
        named = [label for label in order if label in set(frequent)]
    colour_of = dict(zip(named, palette.colours(len(named)), strict=True))
    entries = list(colour_of.items())
    if len(named) < len(order):
        entries.append((f"{len(order) - len(named):,} others", palette.MISSING))
    if any((side == NO_LABEL).any() for side in sides):
        entries.append((NO_LABEL, palette.MISSING))
    colours = [np.array([colour_of.get(label, palette.MISSING) for label in s]) for s in sides]
    return Colouring(column, colours[0], colours[1], tuple(entries))
