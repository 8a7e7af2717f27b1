"""Real and generated cells made comparable: the same genes, the same scale."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from vaexprs.data.scale import scale_of, stored_values, to_log
from vaexprs.errors import DataError, near_matches
from vaexprs.plotting.cells import Cells

Scale = Literal["auto", "counts", "linear", "log"]

#: Values drawn for each scale, in the words of a figure's note.
SCALES = {
    "counts": "log1p of counts per 10,000",
    "linear": "log1p of values",
    "log": "values as given",
}


def align(real: Cells, generated: Cells) -> Cells:
    """Return the real cells with the genes of the generated ones, in their order.

    Real data may hold more genes, since a model may be trained on some of them; a gene that the
    real data lack is an error. Arrays have no names and must agree in their number of genes.

    Raises
    ------
    DataError
        If the genes cannot be aligned.
    """
    if real.var_names is None or generated.var_names is None:
        if real.n_genes != generated.n_genes:
            raise DataError(
                f"the real cells have {real.n_genes:,} genes and the generated ones "
                f"{generated.n_genes:,}: arrays must hold the same genes in the same order, or "
                "pass AnnData objects, whose var_names are matched."
            )
        return real
    if np.array_equal(real.var_names, generated.var_names):
        return real
    place: dict[str, int] = {}
    for at, gene in enumerate(real.var_names):
        if place.setdefault(gene, at) != at:
            raise DataError(
                f"gene {gene!r} comes twice in the real cells, so that the genes cannot be "
                "matched by name: call adata.var_names_make_unique() first."
            )
    lacking = [gene for gene in generated.var_names if gene not in place]
    if lacking:
        first = ", ".join(repr(str(gene)) for gene in lacking[:3])
        raise DataError(
            f"{len(lacking):,} of the {generated.n_genes:,} generated genes are not among the "
            f"{real.n_genes:,} real ones ({first}{', ...' if len(lacking) > 3 else ''}): pass the "
            "real cells that the model was trained on, with the same var_names."
        )
    return real.take(np.array([place[gene] for gene in generated.var_names]))


def choose_scale(reference: Cells, scale: str) -> str:
    """Return the scale asked for, or that of the reference.

    Raises
    ------
    DataError
        If the scale is unknown.
    """
    if scale not in get_args(Scale):
        raise DataError(f"unknown scale {scale!r}: " + near_matches(scale, get_args(Scale)))
    if scale != "auto":
        return scale
    found = scale_of(reference.X)
    return "log" if found == "binary" else found


def rescale(cells: Cells, scale: str) -> Cells:
    """Return the cells as a scale of `SCALES` is drawn.

    Raises
    ------
    DataError
        If a logarithm is asked of negative values.
    """
    if scale != "log" and (stored_values(cells.X) < 0).any():
        raise DataError(
            f"the {cells.name} cells hold negative values, of which scale={scale!r} takes the "
            "logarithm: pass scale='log'."
        )
    return replace(cells, X=to_log(cells.X, scale))  # type: ignore[arg-type]
