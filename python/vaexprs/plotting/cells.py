"""Cells as plots need them: no more than can be shown, of the same genes, on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vaexprs.data.matching import refuse_logged, refuse_other_widths
from vaexprs.data.open import open_cells
from vaexprs.data.scale import scale_of, stored_values, to_log
from vaexprs.errors import DataError, near_matches, require

if TYPE_CHECKING:
    from pandas import DataFrame


Scale = Literal["auto", "counts", "linear", "log"]

#: Values drawn for each scale, in the words of a figure's note.
SCALES = {
    "counts": "log1p of counts per 10,000",
    "linear": "log1p of values",
    "log": "values as given",
}


@dataclass(frozen=True)
class Cells:
    """Cells read for a plot."""

    name: str  # What messages call them: ``"real"``, ``"generated"``
    X: Any  # Expression, ``(n_cells, n_genes)``, dense or CSR, float32
    var_names: NDArray[np.object_] | None  # Names of the genes, or None for an array
    obs: DataFrame  # One row per cell; without columns for an array that has no labels.
    n_total: int  # How many cells there were before some were drawn

    def __len__(self) -> int:
        return int(self.X.shape[0])

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return int(self.X.shape[1])

    def count(self) -> str:
        """Say how many cells are shown, and of how many they were drawn."""
        shown = f"{len(self):,}"
        return shown if len(self) == self.n_total else f"{shown} of {self.n_total:,}"

    def gene(self, name: str) -> NDArray[np.float32] | None:
        """Return the values of a gene, or None where there is no such gene."""
        if self.var_names is None:
            return None
        at = np.flatnonzero(self.var_names == name)
        return self.take(at[:1]).dense().ravel() if len(at) else None

    def take(self, genes: NDArray[np.integer[Any]]) -> Cells:
        """Return the same cells with these genes only, in this order."""
        names = None if self.var_names is None else self.var_names[genes]
        return replace(self, X=self.X[:, genes], var_names=names)

    def variance(self) -> NDArray[np.float64]:
        """Return the variance of each gene, ``(n_genes,)``."""
        square = self.X.multiply(self.X) if hasattr(self.X, "tocsr") else self.X * self.X
        mean, mean_square = (np.ravel(X.mean(0)).astype(np.float64) for X in (self.X, square))
        return np.asarray(mean_square - mean**2)

    def dense(self) -> NDArray[np.float32]:
        """Return the expression as a dense array."""
        return np.asarray(self.X.toarray() if hasattr(self.X, "toarray") else self.X)


def read_cells(
    data: Any,
    *,
    name: str,
    max_cells: int | None,
    seed: int,
    layer: str | None = None,
    raw: bool = False,
    labels: Sequence[Any] | None = None,
) -> Cells:
    """Read cells of any kind, and of more than `max_cells` no more than that."""
    pandas = require("pandas", extra="plot", purpose="Plotting cells")
    if max_cells is not None and max_cells < 1:
        raise DataError(f"max_cells must be at least 1, got {max_cells}.")
    try:
        cells = open_cells(data)
        n_total = cells.shape[0]
        if 0 in cells.shape:
            raise DataError(f"there are none: got a matrix of shape {cells.shape}.")
        rows = None
        if max_cells is not None and n_total > max_cells:
            drawn = np.random.default_rng(seed).choice(n_total, max_cells, replace=False)
            rows = np.sort(drawn)
        X = cells.matrix(layer, raw, rows)
    except DataError as error:
        raise DataError(f"the {name} cells: {error}") from error
    obs = cells.obs
    if obs is None:
        obs = pandas.DataFrame(index=pandas.RangeIndex(n_total).astype(str))
        if labels is not None:
            if len(labels) != n_total:
                raise DataError(f"{len(labels)} labels were given for {n_total} {name} cells.")
            obs["label"] = list(labels)
    elif labels is not None:
        raise DataError(
            f"labels were given for {name} cells that have obs columns: name a column with "
            "color=... instead."
        )
    if not np.isfinite(stored_values(X)).all():
        raise DataError(
            f"the {name} cells hold NaN or infinite values: leave those cells or genes out, or "
            "fill them in."
        )
    genes = cells.genes(raw)
    names = None if genes is None else np.asarray(genes, dtype=object)
    return Cells(name, X, names, obs if rows is None else obs.iloc[rows], n_total)


def align(real: Cells, generated: Cells) -> Cells:
    """Return the real cells with the genes of the generated ones, in their order.

    Real data may hold more genes, since a model may be trained on some of them; a gene that the
    real data lack is an error. Arrays have no names and must agree in their number of genes.
    """
    if real.var_names is None or generated.var_names is None:
        refuse_other_widths("real", real.n_genes, "generated", generated.n_genes)
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
    """Return the scale asked for, or that of the reference."""
    if scale not in get_args(Scale):
        raise DataError(f"unknown scale {scale!r}: " + near_matches(scale, get_args(Scale)))
    if scale != "auto":
        return scale
    found = scale_of(reference.X)
    return "log" if found == "binary" else found


def rescale(cells: Cells, scale: str) -> Cells:
    """Return the cells as a scale of `SCALES` is drawn."""
    if scale != "log" and (stored_values(cells.X) < 0).any():
        raise DataError(
            f"the {cells.name} cells hold negative values, of which scale={scale!r} takes the "
            "logarithm: pass scale='log'."
        )
    if scale == "counts":
        refuse_logged(cells.X, f"the {cells.name} cells")
    return replace(cells, X=to_log(cells.X, scale))  # type: ignore[arg-type]
