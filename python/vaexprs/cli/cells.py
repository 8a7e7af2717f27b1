"""Reading cells that a command line names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vaexprs.errors import DataError, require

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["read_cells"]


def read_cells(path: Path) -> AnnData:
    """Read an AnnData from ``.h5ad`` or ``.zarr``.

    Raises
    ------
    DataError
        If there is no such file or it cannot be read as one.
    """
    anndata = require("anndata", extra="anndata", purpose=f"Reading {path.name}")
    if not path.exists():
        raise DataError(f"there is no file {str(path)!r}.")
    try:
        if path.suffix == ".zarr":
            read: AnnData = anndata.read_zarr(path)
        else:
            read = anndata.read_h5ad(path)
    except MemoryError:
        raise
    except Exception as error:  # h5py, zarr and anndata each have errors of their own
        reason = " ".join(str(error).split())
        raise DataError(
            f"{str(path)!r} cannot be read as an AnnData (.h5ad or .zarr): {reason}"
        ) from error
    return read
