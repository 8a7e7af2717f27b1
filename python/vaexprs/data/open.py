"""`open_cells`: the only opener of cells, from a path, an AnnData or an array."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from vaexprs.data.opened import OpenCells, named, of_anndata
from vaexprs.data.stores import open_path
from vaexprs.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    import scipy.sparse as sp
    from anndata import AnnData

#: Cells: a path or a shipped name, an AnnData, or cells x genes values.
CellsLike: TypeAlias = Union[
    str, os.PathLike[str], "AnnData", NDArray[Any], "sp.csr_matrix", "sp.csr_array", "pd.DataFrame"
]


def open_cells(source: CellsLike | OpenCells) -> OpenCells:
    """Open cells.

    Parameters
    ----------
    source
        A path (``.h5ad``, ``.zarr``, ``.h5`` of 10x, a folder with ``matrix.mtx``, ``.loom``), the
        name of cells that come with the package (``"pbmc_small"``), an AnnData (also a view, also
        file-backed), or cells x genes values: an array, a sparse matrix, a pandas data frame whose
        columns name the genes.

    Raises
    ------
    DataError
        If it is none of these or cannot be read; the message names the file and the cure.
    """
    if isinstance(source, OpenCells):
        return source
    if isinstance(source, str | os.PathLike):
        path = shipped_cells().get(os.fspath(source), Path(source))
        with named(repr(str(path))):
            return open_path(path)
    if hasattr(source, "adatas"):
        raise DataError(
            f"an {type(source).__name__} cannot be read as one matrix: join its parts first, with "
            "anndata.concat([part for part in collection.adatas], index_unique='-')."
        )
    if hasattr(source, "mod") and hasattr(source, "obs"):
        raise DataError("got a MuData: pass one of its modalities, such as mdata['rna'].")
    if isinstance(source, Sequence) and any(
        isinstance(part, str | os.PathLike) or _is_anndata(part) for part in source
    ):
        raise DataError(
            f"got a {type(source).__name__} of {len(source)} AnnData objects or files: join them "
            "first, with anndata.concat(adatas, label='batch', index_unique='-')."
        )
    with named(f"the {type(source).__name__}"):
        return of_anndata(source, "") if _is_anndata(source) else _of_array(source)


def shipped_cells() -> dict[str, Path]:
    """Return the paths of the cells that come with the package, by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.h5ad"))}


def _is_anndata(data: Any) -> bool:
    return all(hasattr(data, name) for name in ("obs", "var_names", "obs_names", "layers"))


def _of_array(data: Any) -> OpenCells:
    names, matrix = None, data
    if type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns"):
        matrix, names = data.to_numpy(), [str(name) for name in data.columns]
    shape = tuple(getattr(matrix, "shape", ())) or np.shape(matrix)
    if len(shape) != 2:
        raise DataError(
            "expected an AnnData, a path or a cells x genes matrix, got "
            f"{type(data).__name__} of shape {shape}."
        )
    size = (int(shape[0]), int(shape[1]))
    return OpenCells("", None, names, None, (), {}, size, lambda _: matrix, lambda: data)
