"""The ``.zarr`` sink: blocks go to a zarr store as they come, in bounded memory.

The layout is AnnData's on-disk specification. Values leave in whole chunks, since parts of a
chunk written twice are compressed twice; annotations are written by anndata itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.errors import OutputError, require
from vaexprs.files import whole_file
from vaexprs.generation.generator import Block
from vaexprs.generation.observation import CSR
from vaexprs.sinks.obs import ObsColumns
from vaexprs.spec import GeneratorSpec

__all__ = ["write_zarr"]

#: Elements of one chunk of a sparse array: 4 MiB of float32.
_CHUNK = 1 << 20


def write_zarr(
    path: str | os.PathLike[str],
    spec: GeneratorSpec,
    blocks: Iterable[Block],
    *,
    n_cells: int,
    first_cell: int,
    uns: dict[str, Any],
    return_mean: bool = False,
    overwrite: bool = False,
    progress: Callable[[int], object] = lambda n_cells: None,
) -> None:
    """Write blocks to a zarr store that ``anndata.read_zarr`` opens.

    Parameters and errors are those of `vaexprs.sinks.h5ad.write_h5ad`; a missing zarr or anndata
    raises `MissingExtraError`.
    """
    zarr = require("zarr", extra="anndata", purpose="Writing a zarr store")
    anndata = require("anndata", extra="anndata", purpose="Writing a zarr store")
    pandas = require("pandas", extra="anndata", purpose="Writing a zarr store")
    write_elem = anndata.io.write_elem
    with whole_file(path, overwrite=overwrite) as partial:
        root = zarr.open_group(str(partial), mode="w", zarr_format=3)
        root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        x: _SparseX | _DenseX = (
            _DenseX(root, n_cells, spec.n_genes)
            if return_mean
            else _SparseX(root, n_cells, spec.n_genes)
        )
        obs = ObsColumns(spec, n_cells)
        z = np.empty((n_cells, spec.n_latent), dtype=np.float32)
        at = 0
        for block in blocks:
            x.append(block.X)
            obs.put(block, at)
            z[at : at + block.n_cells] = block.z
            at += block.n_cells
            progress(block.n_cells)
        if at != n_cells:
            raise OutputError(f"{path}: {n_cells} cells were expected and {at} came.")
        x.close()
        var = pandas.DataFrame(index=pandas.Index(list(spec.var_names), dtype=object))
        write_elem(root, "obs", obs.to_frame(pandas, first_cell))
        write_elem(root, "var", var)
        write_elem(root, "obsm", {"z": z})
        write_elem(root, "uns", {"vaexprs": uns})
        for name in ("layers", "obsp", "varm", "varp"):
            write_elem(root, name, {})


class _SparseX:
    """``X`` as CSR in growing one-dimensional arrays."""

    def __init__(self, root: Any, n_cells: int, n_genes: int) -> None:
        group = root.create_group("X")
        group.attrs.update(
            {
                "encoding-type": "csr_matrix",
                "encoding-version": "0.1.0",
                "shape": [n_cells, n_genes],
            }
        )
        self._group = group
        self._data = _Growing(group, "data", np.float32)
        self._indices = _Growing(group, "indices", np.int32)
        self._indptr = np.zeros(n_cells + 1, dtype=np.int64)
        self._row = 0

    def append(self, rows: CSR | NDArray[np.float32]) -> None:
        assert isinstance(rows, CSR)
        self._data.append(rows.data)
        self._indices.append(rows.indices)
        n_rows, row = rows.shape[0], self._row
        self._indptr[row + 1 : row + n_rows + 1] = rows.indptr[1:] + self._indptr[row]
        self._row += n_rows

    def close(self) -> None:
        self._data.flush()
        self._indices.flush()
        self._group.create_array("indptr", data=self._indptr)


class _DenseX:
    """``X`` as a dense array."""

    def __init__(self, root: Any, n_cells: int, n_genes: int) -> None:
        rows = min(max(_CHUNK // n_genes, 1), max(n_cells, 1))
        self._array = root.create_array(
            "X", shape=(n_cells, n_genes), chunks=(rows, n_genes), dtype=np.float32
        )
        self._array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        self._row = 0

    def append(self, rows: CSR | NDArray[np.float32]) -> None:
        assert isinstance(rows, np.ndarray)
        self._array[self._row : self._row + len(rows)] = rows
        self._row += len(rows)

    def close(self) -> None:
        pass


class _Growing:
    """A one-dimensional array that grows by whole chunks."""

    def __init__(self, group: Any, name: str, dtype: type) -> None:
        from zarr.codecs import BloscCodec

        self._array = group.create_array(
            name,
            shape=(0,),
            chunks=(_CHUNK,),
            dtype=dtype,
            compressors=BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
        )
        self._buffer: NDArray[Any] = np.empty(_CHUNK, dtype=dtype)
        self._held = 0

    def append(self, values: NDArray[Any]) -> None:
        start = 0
        while start < len(values):
            taken = min(_CHUNK - self._held, len(values) - start)
            self._buffer[self._held : self._held + taken] = values[start : start + taken]
            self._held += taken
            start += taken
            if self._held == _CHUNK:
                self.flush()

    def flush(self) -> None:
        if self._held:
            written = self._array.shape[0]
            self._array.resize((written + self._held,))
            self._array[written:] = self._buffer[: self._held]
            self._held = 0
