"""Cells in files: AnnData in HDF5 files and zarr stores, the files and folders of 10x, loom.

A file is opened for its names, its ``obs`` and where its model came from; a matrix is read when it
is asked for, and no other.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaexprs.data.opened import InFile, OpenCells, of_anndata
from vaexprs.errors import DataError, require

if TYPE_CHECKING:
    from pandas import DataFrame

_log = logging.getLogger("vaexprs")

#: What to do with files that hold cells and are not read, by suffix.
_CURES = {
    ".gz": "unpack it first, with `gunzip`",
    ".zip": "unpack it first, with `unzip`",
    ".csv": "a table does not say whether its rows are cells; read it with "
    "`adata = anndata.io.read_csv(path)`, add `.T` if its rows are genes, and save it with "
    "`adata.write_h5ad('cells.h5ad')`",
    ".mtx": "name the folder that holds it, with barcodes.tsv and features.tsv (or genes.tsv)",
    ".rds": "in R, save it with `anndataR::write_h5ad(object, 'cells.h5ad')`",
    ".npz": "in Python, load it and pass the matrix in place of the path",
}  # fmt: skip
_CURES |= dict.fromkeys((".tsv", ".txt", ".xlsx"), _CURES[".csv"])
_CURES |= dict.fromkeys((".rdata", ".rda", ".qs", ".h5seurat"), _CURES[".rds"])
_CURES |= dict.fromkeys((".npy", ".pkl", ".pickle", ".parquet"), _CURES[".npz"])


def open_path(path: Path) -> OpenCells:
    """Open cells in a file or folder, by what it holds and not by its suffix."""
    if not path.exists():
        raise DataError(f"there is no file {str(path)!r}.")
    if path.is_dir():
        if any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zattrs")):
            require("zarr", extra="anndata", purpose=f"Reading {path.name}")
            return _of_store(path)
        if any(path.glob("*matrix.mtx*")):
            return _by_scanpy(path, "read_10x_mtx")
        raise DataError(
            f"the folder {str(path)!r} holds no cells: expected a .zarr store, or matrix.mtx with "
            "barcodes.tsv and features.tsv."
        )
    h5py = require("h5py", extra="anndata", purpose=f"Reading {path.name}")
    if not path.is_file() or not h5py.is_hdf5(path):
        cure = _CURES.get(path.suffix.lower())
        wanted = cure or "expected .h5ad, .zarr, .h5 or a matrix.mtx folder of 10x, or .loom"
        raise DataError(f"{str(path)!r} is no readable file of cells: {wanted}.")
    with h5py.File(path, "r") as file:
        _refuse_links(h5py, file, path)
        members = set(file)
        is_10x = "matrix" in members or any(
            "barcodes" in part for part in file.values() if isinstance(part, h5py.Group)
        )
        legacy = "raw.X" in file or any(
            isinstance(file.get(name), h5py.Dataset) for name in ("obs", "var")
        )
    if {"row_attrs", "col_attrs", "matrix"} <= members:
        return _by_loompy(path)
    if "mod" in members:
        raise DataError(f"{str(path)!r} holds several modalities: save one, mdata['rna'], alone.")
    if legacy:  # written before anndata 0.7; small files
        anndata = require("anndata", extra="anndata", purpose=f"Reading {path.name}")
        return of_anndata(anndata.read_h5ad(path), _of(path))
    if {"obs", "var"} <= members:
        return _of_store(path)
    if is_10x:
        return _by_scanpy(path, "read_10x_h5")
    raise DataError(f"{str(path)!r} holds no AnnData and no matrix of 10x.")


def _of(path: Path) -> str:
    return f" of {path.name!r}"


@contextmanager
def _store(path: Path) -> Iterator[Any]:
    if path.is_dir():
        import zarr

        yield zarr.open_group(path, mode="r")
        return
    import h5py

    with h5py.File(path, "r") as file:
        yield file


@contextmanager
def _element(path: Path, name: str) -> Iterator[Any]:
    with _store(path) as store:
        yield store.get(name)


def _of_store(path: Path) -> OpenCells:
    """Open the names and the ``obs`` of an AnnData in a file, and nothing else."""
    anndata = require("anndata", extra="anndata", purpose=f"Reading {path.name}")
    with _store(path) as store:
        if not {"obs", "var"} <= set(store.keys()):
            raise DataError(f"{str(path)!r} holds no AnnData: obs or var is missing.")
        obs = _frame(anndata, store["obs"])
        names = _index(anndata, store["var"])
        raw_names = _index(anndata, store["raw/var"]) if "raw/X" in store else None
        layers = tuple(store["layers"].keys()) if "layers" in store else ()
        elements = {"X"} & set(store.keys())
        try:
            own = anndata.io.read_elem(store["uns/vaexprs"])
        except Exception:  # there is none, or one that this version of anndata cannot read
            own = {}

    def element(name: str) -> Any:
        if name == "X" and not elements:
            return None
        return InFile(partial(_element, path, "raw/X" if name == "raw" else name))

    def var(raw: bool) -> Any:
        with _store(path) as store:
            return dict(_frame(anndata, store["raw/var" if raw else "var"]))

    return OpenCells(
        _of(path),
        obs,
        names,
        raw_names,
        layers,
        dict(own) if hasattr(own, "keys") else {},
        (len(obs), len(names)),
        element,
        lambda: anndata.read_zarr(path) if path.is_dir() else anndata.read_h5ad(path),
        var,
    )


def _frame(anndata: Any, group: Any) -> DataFrame:
    """Read a data frame, without the columns that anndata cannot read."""
    pandas = require("pandas", extra="anndata", purpose="Reading cells")
    if group.attrs.get("encoding-version") != "0.2.0":
        frame: DataFrame = anndata.io.read_elem(group)
        return frame
    columns = {}
    for name in map(str, group.attrs["column-order"]):
        try:
            columns[name] = anndata.io.read_elem(group[name])
        except Exception as error:
            where = str(group.name).strip("/")
            _log.warning("%s[%r] cannot be read and is left out: %s", where, name, error)
    return pandas.DataFrame(columns, index=pandas.Index(_index(anndata, group), dtype=object))


def _index(anndata: Any, group: Any) -> list[str]:
    """Return the index of a data frame in a file."""
    if group.attrs.get("encoding-version") != "0.2.0":
        return [str(name) for name in anndata.io.read_elem(group).index]
    return [str(name) for name in anndata.io.read_elem(group[str(group.attrs["_index"])])]


def _by_scanpy(path: Path, reader: str) -> OpenCells:
    scanpy = require("scanpy", extra="plot", purpose=f"Reading {path.name}")
    options: dict[str, Any] = {}
    if path.is_dir():  # files of GEO have a prefix: GSM123_matrix.mtx.gz
        options["prefix"] = next(path.glob("*matrix.mtx*")).name.partition("matrix.mtx")[0]
    adata = getattr(scanpy, reader)(path, **options)
    if not adata.var_names.is_unique:
        _log.info("%s: names of genes that repeat get a number at their end", path.name)
        adata.var_names_make_unique()
    return of_anndata(adata, _of(path))


def _by_loompy(path: Path) -> OpenCells:
    if importlib.util.find_spec("loompy") is None:
        raise DataError(
            f"{str(path)!r} is a loom file, which anndata reads with the package 'loompy': run "
            "`pip install loompy`."
        )
    anndata = require("anndata", extra="anndata", purpose=f"Reading {path.name}")
    adata = anndata.io.read_loom(path)
    adata.var_names_make_unique()
    return of_anndata(adata, _of(path))


def _refuse_links(h5py: Any, file: Any, path: Path) -> None:
    """Refuse an HDF5 file whose contents lie in other files, which it could read from anywhere."""

    def elsewhere(name: str, link: Any) -> str | None:
        where = None
        if isinstance(link, h5py.ExternalLink):
            where = link.filename
        elif isinstance(link, h5py.HardLink):
            thing = file.get(name)
            if isinstance(thing, h5py.Dataset):
                plan = thing.id.get_create_plist()
                if plan.get_external_count():
                    where = os.fsdecode(plan.get_external(0)[0])
                elif thing.is_virtual:
                    others = [v.file_name for v in thing.virtual_sources() if v.file_name != "."]
                    where = others[0] if others else None
        return None if where is None else f"{name!r} in another file, {where!r}"

    # an exception in the callback would be lost in h5py
    found = file.visititems_links(elsewhere)
    if found is not None:
        raise DataError(f"{str(path)!r} keeps {found}, which is not followed: save it as one file.")
