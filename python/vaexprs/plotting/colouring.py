"""Colours of cells by a label, a measurement, or whether they are real."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import DataError, near_matches
from vaexprs.plotting.cells import Cells
from vaexprs.plotting.labels import (
    MAX_CATEGORIES,
    NO_LABEL,
    category_order,
    is_numeric,
    labels_of,
    shared_labels,
)
from vaexprs.style import CONTROL, GENERATED, MISSING, colours


@dataclass(frozen=True)
class Colouring:
    """Colours of real and generated cells, and the entries of a legend.

    Attributes
    ----------
    title
        Name of the column or gene; empty for the source.
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
    """Colour cells by a column, a gene or their source.

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
