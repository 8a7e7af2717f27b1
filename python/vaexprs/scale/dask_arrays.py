"""Cells as a Dask array: each block of rows is made when, and where, it is asked for."""

from __future__ import annotations

import functools
import hashlib
import json
import pickle
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaexprs.checks import whole
from vaexprs.errors import require
from vaexprs.generation.blocks import Block
from vaexprs.generation.generator import Generator
from vaexprs.generation.obs import obs_frame, var_frame
from vaexprs.generation.observation import CSR
from vaexprs.scale.request import Request, make_request
from vaexprs.sinks.provenance import identity

if TYPE_CHECKING:
    from anndata import AnnData

#: Values of a block of X that is made at once, unless asked for: 64 MiB if it were dense.
_VALUES = 1 << 24
#: Cells whose conditions and library sizes are drawn at once.
_AT_ONCE = 1 << 16
#: Requests that a worker keeps open.
_OPEN = 4


def to_dask(
    generator: Generator,
    plan: Any,
    *,
    n_cells: int | None,
    first_cell: int,
    seed: int,
    chunk: int | None,
) -> AnnData:
    """Return cells whose ``X`` and latent variables are made when they are asked for.

    See `vaexprs.Generator.to_dask`.
    """
    da = require("dask.array", extra="dask", purpose="A Dask array of cells")
    anndata = require("anndata", extra="dask", purpose="Making an AnnData")
    pandas = require("pandas", extra="dask", purpose="Making an AnnData")
    from scipy.sparse import csr_matrix

    request = make_request(
        generator,
        n_cells,
        conditions=plan,
        seed=seed,
        first_cell=first_cell,
        library=None,
        return_mean=False,
    )
    spec, run = generator.spec, request.run()
    chunk = max(_VALUES // spec.n_genes, 1) if chunk is None else whole("chunk", chunk, 1)
    starts = range(0, request.n_cells, chunk)
    rows = tuple(min(chunk, request.n_cells - start) for start in starts) or (0,)
    parcel = pack(request)
    token = token_of(request, chunk)
    recipe = f"vaexprs-recipe-{token}"

    def array(make: Any, what: str, width: int, meta: Any) -> Any:
        name = f"vaexprs-{what}-{token}"
        blocks = {(name, i, 0): (make, recipe, i * chunk, n_rows) for i, n_rows in enumerate(rows)}
        return da.Array(blocks | {recipe: parcel}, name, chunks=(rows, (width,)), meta=meta)

    names = pandas.Index(run.cell_names(run.first_cell, run.n_cells), dtype=object)
    return anndata.AnnData(
        X=_with_sum(da, array(_x, "x", spec.n_genes, csr_matrix((0, 0), dtype=np.float32))),
        obs=obs_frame(spec, list(_inputs(request, 0, request.n_cells)), names),
        var=var_frame(spec),
        obsm={"z": array(_z, "z", spec.n_latent, np.empty((0, 0), np.float32))},
        uns={"vaexprs": run.uns},
    )


def token_of(request: Request, *more: Any) -> str:
    """Return a name for Dask keys, the same in every process for the same request."""
    told = json.dumps([identity(request.facts()), *more], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def pack(request: Request) -> bytes:
    """Return a request as bytes that any worker opens: the artifact is in them.

    Bytes, so that a scheduler, which unpickles graphs, does not open the artifact.
    """
    generator = request.generator
    how = generator.model_bytes(), generator.path, generator.device, generator.runtime
    rest = {f.name: getattr(request, f.name) for f in fields(request) if f.name != "generator"}
    return pickle.dumps((how, rest))


@functools.lru_cache(_OPEN)
def unpack(parcel: bytes) -> Request:
    """Return the request in a parcel; a process opens it once, for one thread at a time."""
    (model_bytes, path, device, runtime), rest = pickle.loads(parcel)
    generator = Generator(model_bytes, device=device, runtime=runtime, n_threads=1)
    generator.path = path  # what the cells say they come from
    return Request(generator, **rest)


def _x(parcel: bytes, start: int, n_cells: int) -> Any:
    """Return consecutive rows as a SciPy CSR matrix."""
    request = unpack(parcel)
    part = replace(request, first_cell=request.first_cell + start, n_cells=n_cells)
    with part.blocks() as blocks:
        rows = [block.X for block in blocks(0) if isinstance(block.X, CSR)]
    return CSR.concatenate(rows, request.generator.spec.n_genes).to_scipy()


def _z(parcel: bytes, start: int, n_cells: int) -> NDArray[np.float32]:
    """Return the latent variables of consecutive cells."""
    request = unpack(parcel)
    parts = [block.z for block in _inputs(request, start, n_cells)]
    return np.concatenate([np.empty((0, request.generator.spec.n_latent), np.float32), *parts])


def _inputs(request: Request, start: int, n_cells: int) -> Iterator[Block]:
    """Yield consecutive cells without their values, which takes no decoder."""
    empty = np.empty((0, 0), np.float32)
    for at in range(start, start + n_cells, _AT_ONCE):
        n = min(_AT_ONCE, start + n_cells - at)
        first = request.first_cell + at
        cells = request.generator.inputs_of(request.plan).draw(
            seed=request.seed, first_cell=first, n_cells=n
        )
        yield Block(first, cells.codes, cells.unseen, cells.z, cells.library, empty)


def _with_sum(da: Any, array: Any) -> Any:
    """Return an array of sparse blocks whose sums work, as SciPy's know no ``keepdims``.

    The methods are set on the array, not on a class of its own: anndata writes no subclasses.
    """

    def total(axis: Any = None, dtype: Any = None, keepdims: bool = False, **more: Any) -> Any:
        return da.reduction(
            array,
            chunk=_sum_of_block,
            aggregate=_sum_of_sums,
            axis=axis,
            keepdims=keepdims,
            dtype=dtype or array.dtype,
            concatenate=True,
            meta=np.empty((0,) * 2, dtype or array.dtype),
            **more,
        )

    rechunk = array.rechunk
    array.sum = total
    array.rechunk = lambda *args, **more: _with_sum(da, rechunk(*args, **more))
    return array


def _sum_of_block(block: Any, axis: tuple[int, ...], keepdims: bool, **_: Any) -> Any:
    total = block
    for place in axis:
        total = np.asarray(total.sum(axis=place, dtype=np.float64))
        total = np.expand_dims(total, place) if total.ndim < 2 else total
    return total


def _sum_of_sums(sums: Any, axis: tuple[int, ...], keepdims: bool, dtype: Any = None) -> Any:
    return np.sum(sums, axis=axis, keepdims=keepdims).astype(dtype or np.float32)
