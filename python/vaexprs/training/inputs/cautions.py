"""Find small classes, keys that name cells, and absurd values before a fit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vaexprs.data import ExpressionData

#: Cells in all below which a fit has nothing to generalise from.
_FEW_CELLS = 30
#: Cells of a category below which its means are those of single cells.
_SMALL_CLASS = 10
#: Share of categories in cells from which a key names cells rather than kinds.
_MOSTLY_NAMES = 0.5
#: Small classes that a sentence names.
_NAMED = 5
#: A value is absurd beyond 100 times the largest value of 99 % of the cells. In sets of molecule
#: counts and of RPKM the largest was 1.1 to 3.2 times that.
_ABSURD, _OTHER_CELLS = 100.0, 0.99


def cautions(data: ExpressionData) -> Iterator[str]:
    """Yield one sentence for each thing about the cells that a user should know."""
    if data.n_cells < _FEW_CELLS:
        yield (
            f"{data.source} holds {data.n_cells} cells in all: generated cells will be near copies "
            "of them, and scores say little."
        )
    for column, key in enumerate(data.keys):
        sizes = np.bincount(data.codes[:, column], minlength=len(key.categories))
        if len(sizes) > max(2, _MOSTLY_NAMES * data.n_cells):
            yield (
                f"condition key {key.name!r} has {len(sizes)} categories for {data.n_cells} cells: "
                "a category of one or two cells cannot be learned; leave the key out, or merge "
                "categories."
            )
            continue
        small = np.flatnonzero(sizes < _SMALL_CLASS)
        if small.size:
            small = small[np.argsort(sizes[small], kind="stable")]
            named = ", ".join(f"{key.categories[c]!r} ({sizes[c]})" for c in small[:_NAMED])
            yield (
                f"categories of {key.name!r} with fewer than {_SMALL_CLASS} cells, {small.size} of "
                f"{len(sizes)}: {named}{', ...' if small.size > _NAMED else ''}; their generated "
                "cells borrow most of their variation from the others."
            )
    yield from _absurd_value(data)


def _absurd_value(data: ExpressionData) -> Iterator[str]:
    largest = data.largest  # of each cell
    order = np.argsort(largest, kind="stable")
    usual = largest[order[int(_OTHER_CELLS * (len(order) - 1))]] if len(order) > 1 else np.inf
    if largest[order[-1]] <= _ABSURD * max(usual, np.finfo(np.float32).tiny):
        return
    cell = int(order[-1])
    row = data.rows(np.array([cell]))[0]
    gene = int(np.abs(row).argmax())
    yield (
        f"{data.source} holds {row[gene]:g} in gene {data.var_names[gene]!r} of cell "
        f"{data.obs_names[cell]!r}, and at most {usual:g} in nearly all other cells: such a value "
        "bends the fit; correct it, or leave the cell out."
    )
