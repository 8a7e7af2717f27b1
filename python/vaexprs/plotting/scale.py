"""Real and generated cells made comparable: the same genes, the same scale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import DataError, near_matches
from vaexprs.plotting.cells import Cells

__all__ = ["SCALES", "Scale", "align", "choose_scale", "rescale"]

Scale = Literal["auto", "counts", "log1p", "none"]

#: What a scale does, in the words of a figure's note.
SCALES = {
    "counts": "log1p of counts per 10,000",
    "log1p": "log1p of values",
    "none": "values as given",
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
    """Return what to do with the values: the scale asked for, or one that suits the reference.

    ``auto``: whole non-negative numbers are counts. Values with negatives among them stay as
    they are. Other values span orders of magnitude, as RPKM and TPM do, or do not, as logged
    values do; the line is drawn where the largest is 30 times the median of those above 0.

    Raises
    ------
    DataError
        If the scale is unknown.
    """
    if scale not in get_args(Scale):
        raise DataError(f"unknown scale {scale!r}: " + near_matches(scale, get_args(Scale)))
    if scale != "auto":
        return scale
    values = _values(reference.X)
    if (values < 0).any():
        return "none"
    if (values == np.rint(values)).all():
        return "counts"
    positive = values[values > 0]
    return "log1p" if positive.max() > 30 * np.median(positive) else "none"


def rescale(cells: Cells, scale: str) -> Cells:
    """Return the cells on a scale of `SCALES`.

    Raises
    ------
    DataError
        If a logarithm is asked of negative values.
    """
    if scale == "none":
        return cells
    if (_values(cells.X) < 0).any():
        raise DataError(
            f"the {cells.name} cells hold negative values, of which scale={scale!r} takes the "
            "logarithm: pass scale='none'."
        )
    X = cells.X.copy()
    if scale == "counts":
        library = np.asarray(X.sum(1), dtype=np.float64).ravel()
        factor = np.divide(1e4, library, out=np.zeros_like(library), where=library > 0)
        if hasattr(X, "tocsr"):
            X.data *= np.repeat(factor, np.diff(X.indptr)).astype(np.float32)
        else:
            X *= factor[:, None].astype(np.float32)
    if hasattr(X, "tocsr"):
        np.log1p(X.data, out=X.data)
    else:
        np.log1p(X, out=X)
    return replace(cells, X=X)


def _values(X: Any) -> NDArray[np.float32]:
    """Return the stored values; those that a sparse matrix leaves out are 0."""
    values: NDArray[np.float32] = X.data if hasattr(X, "tocsr") else X
    return values
