"""Cells as plots need them: read from wherever they are, and no more than can be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import DataError, near_matches, require

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Cells", "read_cells"]


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
    labels: Sequence[Any] | None = None,
) -> Cells:
    """Read cells from an AnnData, a matrix, or an ``.h5ad`` or ``.zarr`` path.

    From a file only the cells that are shown are read, so that a file of millions is no harm.

    Parameters
    ----------
    data
        AnnData (in memory or backed), path, or ``(n_cells, n_genes)`` array, sparse matrix or
        data frame.
    name
        What messages call these cells.
    max_cells
        If there are more, as many are drawn at random without replacement. None: all.
    seed
        Seed of that choice.
    layer
        Layer to read instead of ``X``.
    labels
        Labels of the cells of an array; become ``obs["label"]``.

    Raises
    ------
    DataError
        If there is no such file, layer or cell, a value is NaN or infinite, or the labels do
        not fit the cells.
    """
    pandas = require("pandas", extra="plot", purpose="Plotting cells")
    var_names: NDArray[np.object_] | None
    if max_cells is not None and max_cells < 1:
        raise DataError(f"max_cells must be at least 1, got {max_cells}.")
    if isinstance(data, (str, Path)):
        X, var_names, obs, n_total = _read_file(Path(data), name, layer, max_cells, seed)
    elif all(hasattr(data, part) for part in ("X", "obs", "var_names")):
        if layer is not None and layer not in data.layers:
            known = [str(key) for key in data.layers if key is not None]
            raise DataError(
                f"the {name} cells have no layer {layer!r}: " + near_matches(layer, known)
            )
        n_total = data.n_obs
        rows = _rows(n_total, max_cells, seed)
        matrix = data.X if layer is None else data.layers[layer]
        if matrix is None:
            raise DataError(f"the {name} cells have no X: pass layer=... for a layer to draw.")
        X = matrix if rows is None else matrix[rows]
        obs = data.obs if rows is None else data.obs.iloc[rows]
        var_names = np.asarray(data.var_names, dtype=object)
        X = X.to_memory() if hasattr(X, "to_memory") else X[:] if rows is None else X
    else:
        if layer is not None:
            raise DataError(f"layer={layer!r} needs an AnnData, and the {name} cells are none.")
        var_names = np.asarray(data.columns, dtype=object) if hasattr(data, "columns") else None
        X = data if hasattr(data, "tocsr") else np.asarray(data)
        if X.ndim != 2:
            raise DataError(
                f"the {name} cells must be an AnnData, a path or a cells x genes matrix, got "
                f"{type(data).__name__} with {X.ndim} dimensions."
            )
        n_total = X.shape[0]
        obs = pandas.DataFrame(index=pandas.RangeIndex(n_total).astype(str))
        if labels is not None:
            obs["label"] = _labels(labels, n_total, name)
            labels = None
        rows = _rows(n_total, max_cells, seed)
        if rows is not None:
            X = (X.tocsr() if hasattr(X, "tocsr") else X)[rows]
            obs = obs.iloc[rows]
    if labels is not None:
        raise DataError(
            f"labels were given for {name} cells that have obs columns: name a column with "
            "color=... instead."
        )
    if n_total == 0 or X.shape[1] == 0:
        raise DataError(f"the {name} cells are none: got a matrix of shape {X.shape}.")
    X = X.tocsr().astype(np.float32) if hasattr(X, "tocsr") else np.asarray(X, dtype=np.float32)
    values = X.data if hasattr(X, "tocsr") else X
    if not np.isfinite(values).all():
        raise DataError(
            f"the {name} cells hold NaN or infinite values: leave those cells or genes out, or "
            "fill them in."
        )
    return Cells(name, X, var_names, obs, n_total)


def _read_file(
    path: Path, name: str, layer: str | None, max_cells: int | None, seed: int
) -> tuple[Any, NDArray[np.object_], Any, int]:
    """Read rows of a file: matrix, names of the genes, obs, cells in the file."""
    anndata = require("anndata", extra="plot", purpose="Reading cells from a file")
    if not path.exists():
        raise DataError(f"the {name} cells cannot be read: there is no file {str(path)!r}.")
    if path.suffix == ".zarr" or path.is_dir():
        zarr = require("zarr", extra="plot", purpose="Reading a zarr store")
        opened = zarr.open_group(path, mode="r")
        closing: Any = None
    else:
        h5py = require("h5py", extra="plot", purpose="Reading an .h5ad file")
        try:
            opened = closing = h5py.File(path, "r")
        except OSError as error:
            raise DataError(
                f"the {name} cells cannot be read: {str(path)!r} is no .h5ad file, or is damaged "
                f"({error})."
            ) from error
    try:
        layers = opened.get("layers", {})
        if layer is not None and layer not in layers:
            raise DataError(
                f"the {name} cells have no layer {layer!r}: " + near_matches(layer, list(layers))
            )
        if not {"X", "obs", "var"} <= set(opened):
            raise DataError(f"the {name} cells cannot be read: {str(path)!r} holds no AnnData.")
        obs = anndata.io.read_elem(opened["obs"])
        var = anndata.io.read_elem(opened["var"])
        rows = _rows(len(obs), max_cells, seed)
        element = opened["X"] if layer is None else layers[layer]
        encoding = dict(element.attrs).get("encoding-type", "array")
        if rows is None or encoding == "csc_matrix":
            X = anndata.io.read_elem(element)
            X = X if rows is None else X.tocsr()[rows]
        elif encoding == "csr_matrix":
            X = anndata.io.sparse_dataset(element)[rows]
        else:
            X = element.oindex[rows, :] if hasattr(element, "oindex") else element[rows, :]
    finally:
        if closing is not None:
            closing.close()
    obs_shown = obs if rows is None else obs.iloc[rows]
    return X, np.asarray(var.index, dtype=object), obs_shown, len(obs)


def _rows(n_total: int, max_cells: int | None, seed: int) -> NDArray[np.int64] | None:
    """Return the rows to show in rising order, or None for all."""
    if max_cells is None or n_total <= max_cells:
        return None
    return np.sort(np.random.default_rng(seed).choice(n_total, max_cells, replace=False))


def _labels(labels: Sequence[Any], n_cells: int, name: str) -> list[Any]:
    given = list(labels)
    if len(given) != n_cells:
        raise DataError(f"{len(given)} labels were given for {n_cells} {name} cells.")
    return given


def _dense(X: Any) -> NDArray[np.float32]:
    return np.asarray(X.toarray() if hasattr(X, "toarray") else X)
