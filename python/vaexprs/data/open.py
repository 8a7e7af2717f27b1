"""`open_cells`: the only opener of cells, from a path, an AnnData or an array.

A file is opened for its names, its ``obs`` and where its model came from; a matrix is read when it
is asked for, and no other.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.data.matrix import canonical, first_values
from vaexprs.data.scale import scale_of
from vaexprs.errors import DataError, VaexprsError, near_matches, require

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["OpenCells", "open_cells", "shipped_cells"]

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
    ".npz": "load it, and pass the matrix to fit_vae in Python",
}  # fmt: skip
_CURES |= dict.fromkeys((".tsv", ".txt", ".xlsx"), _CURES[".csv"])
_CURES |= dict.fromkeys((".rdata", ".rda", ".qs", ".h5seurat"), _CURES[".rds"])
_CURES |= dict.fromkeys((".npy", ".pkl", ".pickle", ".parquet"), _CURES[".npz"])


@dataclass(frozen=True)
class OpenCells:
    """Cells whose names and labels are read, and whose matrices can be.

    Attributes
    ----------
    where
        ``" of 'cells.h5ad'"`` for cells from a file, else empty; for messages.
    obs
        One row per cell, or None for an array.
    var_names, raw_names
        Names of the genes and of those of ``raw``, or None where there are none.
    layers
        Names of the layers.
    provenance
        ``uns["vaexprs"]`` of generated cells, else empty.
    shape
        ``(n_cells, n_genes)``.
    """

    where: str
    obs: DataFrame | None
    var_names: list[str] | None
    raw_names: list[str] | None
    layers: tuple[str, ...]
    provenance: dict[str, Any]
    shape: tuple[int, int]
    _element: Callable[[str], Any] = field(repr=False)
    _whole: Callable[[], Any] = field(repr=False)

    @property
    def is_array(self) -> bool:
        """Whether an array was given, without names of cells."""
        return self.obs is None

    def source(self, layer: str | None = None, raw: bool = False) -> str:
        """Return what messages call a matrix: ``"layer 'counts' of 'cells.h5ad'"``."""
        if self.is_array:
            return "the array"
        return (f"layer {layer!r}" if layer is not None else "raw" if raw else "X") + self.where

    def genes(self, raw: bool = False) -> list[str] | None:
        """Return the names of the genes of a matrix."""
        return self.raw_names if raw else self.var_names

    def matrix(
        self, layer: str | None = None, raw: bool = False, rows: NDArray[np.int64] | None = None
    ) -> Any:
        """Return ``X``, a layer, or ``raw``, checked: float32 CSR or array.

        Parameters
        ----------
        layer, raw
            Which matrix; ``X`` by default.
        rows
            Rows to read, rising, or None for all.

        Raises
        ------
        DataError
            If there is no such matrix, or it is damaged.
        """
        if layer is not None and raw:
            raise DataError("give a layer or raw, not both.")
        if self.is_array and (layer is not None or raw):
            raise DataError("layer and raw are for AnnData objects; pass the array that you mean.")
        if layer is not None and layer not in self.layers:
            raise DataError(f"no layer {layer!r}{self.where}: " + near_matches(layer, self.layers))
        if raw and self.raw_names is None:
            raise DataError(f"there is no raw{self.where}: use X or a layer.")
        genes = self.genes(raw)
        shape = self.shape if genes is None else (self.shape[0], len(genes))
        element = self._element("raw" if raw else "X" if layer is None else f"layers/{layer}")
        if element is None:
            known = ", ".join(self.layers) or "none"
            raise DataError(f"X{self.where} is empty; name one of the layers: {known}.")
        what = self.source(layer, raw)
        with _readable(element) as opened, _named(what):
            return canonical(opened, what, shape=shape, rows=rows)

    def looks_like_counts(self, element: str = "X") -> bool | None:
        """Return whether some thousand values are counts, or None where they cannot be read.

        The element is ``"X"``, ``"raw"`` or ``"layers/NAME"``.
        """
        try:
            with _readable(self._element(element)) as opened:
                return scale_of(first_values(opened)) in ("counts", "binary")
        except Exception:  # a matrix that nobody asked for blocks nothing
            return None

    def counts_in(self) -> tuple[str | None, ...]:
        """Return the layers that look like counts; None stands for ``raw``."""
        found: list[str | None] = [n for n in self.layers if self.looks_like_counts(f"layers/{n}")]
        if self.raw_names is not None and self.looks_like_counts("raw"):
            found.append(None)
        return tuple(found)

    def anndata(self) -> Any:
        """Return the object that was given, or all of a file as AnnData, safe to take rows of."""
        whole = self._whole()
        for name in ("layers", "obsm", "obsp"):
            for part, matrix in getattr(whole, name, {}).items():
                if hasattr(matrix, "tocsr"):
                    canonical(matrix, f"{name}[{part!r}]{self.where}")
        self.matrix()
        return whole


def open_cells(source: Any) -> OpenCells:
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
        with _named(repr(str(path))):
            return _open_path(path)
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
    if _is_anndata(source):
        return _of_anndata(source, "")
    return _of_array(source)


def shipped_cells() -> dict[str, Path]:
    """Return the paths of the cells that come with the package, by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.h5ad"))}


def _is_anndata(data: Any) -> bool:
    return all(hasattr(data, name) for name in ("obs", "var_names", "obs_names", "layers"))


def _of_anndata(adata: Any, where: str) -> OpenCells:
    raw: Any = getattr(adata, "raw", None)
    obs = adata.obs if hasattr(adata.obs, "iloc") else adata.obs.to_memory()
    own = adata.uns.get("vaexprs", {}) if hasattr(adata, "uns") else {}

    def element(name: str) -> Any:
        if name == "raw":
            return raw.X
        return adata.X if name == "X" else adata.layers[name.partition("/")[2]]

    return OpenCells(
        where,
        obs,
        [str(name) for name in adata.var_names],
        None if raw is None else [str(name) for name in raw.var_names],
        # anndata 0.13 lists X itself as the layer None
        tuple(str(name) for name in adata.layers if name is not None),
        dict(own) if hasattr(own, "keys") else {},
        (int(adata.n_obs), int(adata.n_vars)),
        element,
        lambda: adata,
    )


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


# ---- files


def _open_path(path: Path) -> OpenCells:
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
        return _of_anndata(anndata.read_h5ad(path), _of(path))
    if {"obs", "var"} <= members:
        return _of_store(path)
    if is_10x:
        return _by_scanpy(path, "read_10x_h5")
    raise DataError(f"{str(path)!r} holds no AnnData and no matrix of 10x.")


def _of(path: Path) -> str:
    return f" of {path.name!r}"


@dataclass(frozen=True)
class _InFile:
    """An element of a file, opened when it is read."""

    path: Path
    name: str

    @contextmanager
    def open(self) -> Iterator[Any]:
        with _store(self.path) as store:
            yield store.get(self.name)


@contextmanager
def _readable(element: Any) -> Iterator[Any]:
    """Open an element of a file; anything else is there already."""
    if not isinstance(element, _InFile):
        yield element
        return
    with element.open() as opened:
        yield opened


@contextmanager
def _store(path: Path) -> Iterator[Any]:
    if path.is_dir():
        import zarr

        yield zarr.open_group(path, mode="r")
        return
    import h5py

    with h5py.File(path, "r") as file:
        yield file


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
        return _InFile(path, "raw/X" if name == "raw" else name)

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
            _log.warning("obs[%r] cannot be read and is left out: %s", name, error)
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
    return _of_anndata(adata, _of(path))


def _by_loompy(path: Path) -> OpenCells:
    if importlib.util.find_spec("loompy") is None:
        raise DataError(
            f"{str(path)!r} is a loom file, which anndata reads with the package 'loompy': run "
            "`pip install loompy`."
        )
    anndata = require("anndata", extra="anndata", purpose=f"Reading {path.name}")
    adata = anndata.io.read_loom(path)
    adata.var_names_make_unique()
    return _of_anndata(adata, _of(path))


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


@contextmanager
def _named(what: str) -> Iterator[None]:
    """Turn whatever a reader raises into a `DataError` that names what was read.

    Old files and names that repeat are read all the same: their warnings are left out.
    """
    try:
        with warnings.catch_warnings():
            for words in ("Variable names", ".*without encoding metadata", ".*very old version"):
                warnings.filterwarnings("ignore", words)
            yield
    except (VaexprsError, MemoryError):
        raise
    except Exception as error:  # h5py, zarr, anndata and scanpy each have errors of their own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{what} cannot be read: {reason}.") from error
