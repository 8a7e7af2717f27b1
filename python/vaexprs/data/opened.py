"""`OpenCells`: cells whose names and labels are read, and whose matrices can be."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.data.matrices.checked import canonical, first_values
from vaexprs.data.matrices.chunked import Held, in_chunks
from vaexprs.data.matrices.on_disk import RowsOnDisk
from vaexprs.data.matrices.stored import is_by_columns, is_stored, n_stored
from vaexprs.data.scale import scale_of
from vaexprs.errors import DataError, VaexprsError, near_matches
from vaexprs.spec.conditions import column_problem

if TYPE_CHECKING:
    from pandas import DataFrame

#: Most stored values of a file that is read as a whole without being asked: 1 GB as CSR.
_IN_MEMORY = 2**27

__all__ = ["InFile", "OpenCells", "named", "of_anndata"]


@dataclass(frozen=True)
class InFile:
    """An element of a file, which is opened when it is read."""

    open: Callable[[], AbstractContextManager[Any]]


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
    _var: Callable[[bool], Any] = field(default=lambda raw: {}, repr=False)

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

    def var(self, raw: bool = False) -> dict[str, tuple[str, ...]]:
        """Return the columns of ``var`` that are text; numbers may be statistics of the cells."""
        found = {}
        for name, values in self._var(raw).items():
            texts = tuple("" if value is None else value for value in values.astype(object))
            if all(type(text) is str and "\0" not in text for text in texts):
                found[str(name)] = texts
        return {name: texts for name, texts in found.items() if column_problem(name) is None}

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
        element, what, shape = self._chosen(layer, raw)
        with named(what), _readable(element) as opened:
            return canonical(opened, what, shape=shape, rows=rows)

    def chunked(self, layer: str | None, raw: bool, in_memory: bool | None) -> Any:
        """Return a matrix, as `Chunked` where it is larger than a chunk.

        Parameters
        ----------
        layer, raw
            As in `matrix`.
        in_memory
            Whether to read a file as a whole, or rows as they are needed. By default cells of a
            path are read as a whole up to 2^27 stored values, and a backed AnnData is not.

        Raises
        ------
        DataError
            As `matrix`; and where rows cannot be read one after the other.
        """
        element, what, shape = self._chosen(layer, raw)
        with named(what), contextlib.ExitStack() as stack:
            opened = stack.enter_context(_readable(element))
            if in_memory is not True and is_stored(opened):
                by_rows = not is_by_columns(opened)
                small = isinstance(element, InFile) and n_stored(opened) <= _IN_MEMORY
                if in_memory is False or (by_rows and not small):
                    source = RowsOnDisk(opened, what, shape)
                    source.close = stack.pop_all().close  # with the matrix
                    return in_chunks(source)
            return in_chunks(Held(canonical(opened, what, shape=shape)))

    def _chosen(self, layer: str | None, raw: bool) -> tuple[Any, str, tuple[int, int]]:
        """Return the element of a matrix, what messages call it, and its shape."""
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
        what = self.source(layer, raw)
        with named(what):
            element = self._element("raw" if raw else "X" if layer is None else f"layers/{layer}")
        if element is None:
            known = ", ".join(self.layers) or "none"
            raise DataError(f"X{self.where} is empty; name one of the layers: {known}.")
        return element, what, shape

    def looks_like_counts(self, element: str = "X") -> bool | None:
        """Return whether some thousand values are counts; None if they cannot be read or are NaN.

        The element is ``"X"``, ``"raw"`` or ``"layers/NAME"``.
        """
        try:
            with _readable(self._element(element)) as opened:
                values = first_values(opened)
                if not np.isfinite(values).all():
                    return None
                return scale_of(values) in ("counts", "binary")
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


def of_anndata(adata: Any, where: str) -> OpenCells:
    """Return an AnnData as `OpenCells`; `where` names the file that it was read from."""
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
        lambda of_raw: dict((raw if of_raw else adata).var),
    )


@contextmanager
def _readable(element: Any) -> Iterator[Any]:
    """Open an element of a file; anything else is there already."""
    if isinstance(element, InFile):
        with element.open() as opened:
            yield opened
    else:
        yield element


@contextmanager
def named(what: str) -> Iterator[None]:
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
