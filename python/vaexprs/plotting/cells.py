"""Cells as plots need them: read from wherever they are, and no more than can be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.data.open import open_cells
from vaexprs.data.scale import stored_values
from vaexprs.errors import DataError, require

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Cells:
    """Cells read for a plot.

    Attributes
    ----------
    name
        What messages call them: ``"real"``, ``"generated"``.
    X
        Expression, ``(n_cells, n_genes)``, dense or CSR, float32.
    var_names
        Names of the genes, or None for an array.
    obs
        One row per cell; without columns for an array that has no labels.
    n_total
        How many cells there were before some were drawn.
    """

    name: str
    X: Any
    var_names: NDArray[np.object_] | None
    obs: DataFrame
    n_total: int

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
        return _dense(self.X[:, at[:1]]).ravel() if len(at) else None

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
        return _dense(self.X)


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
    """Read cells of any kind, and of more than `max_cells` no more than that.

    Parameters
    ----------
    data
        What `vaexprs.data.open.open_cells` takes, or returned.
    name
        What messages call these cells.
    max_cells
        Most cells; of more, this number is drawn at random without replacement. None: all.
    seed
        Seed of that draw.
    layer, raw
        Which matrix to read; ``X`` by default.
    labels
        Labels of the cells of an array; become ``obs["label"]``.

    Raises
    ------
    DataError
        If there is no such file, layer or cell, a value is NaN or infinite, or the labels do
        not fit the cells.
    """
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


def _dense(X: Any) -> NDArray[np.float32]:
    return np.asarray(X.toarray() if hasattr(X, "toarray") else X)
