"""Generate cells: `gen_exprs` into memory, `write_exprs` onto disk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from vaexprs.artifact import Source
from vaexprs.checks import known_arguments
from vaexprs.errors import ArgumentError
from vaexprs.generation.decoder import Device
from vaexprs.generation.generator import Generator, Runtime
from vaexprs.generation.plan import Plan
from vaexprs.generation.request import ConditionsLike
from vaexprs.scale.parts import SUFFIX, PartFormat, check_parts, is_parts, write_parts
from vaexprs.scale.request import make_request
from vaexprs.sinks.base import Target, check_target, fill

if TYPE_CHECKING:
    from anndata import AnnData


@known_arguments({
    "object": "source", "x": "source", "vae": "source", "path": "source", "model": "source",
    "n_cells": "num_samples", "n_samples": "num_samples", "n": "num_samples",
    "batch_size": "block_size", "condition_keys": "conditions", "labels": "conditions",
    "random_state": "seed",
})  # fmt: skip
def gen_exprs(
    source: Source | Generator,
    num_samples: int | None = None,
    *,
    conditions: ConditionsLike | Plan = None,
    seed: int = 0,
    first_cell: int = 0,
    shard: tuple[int, int] | None = None,
    library: ArrayLike | None = None,
    return_mean: bool = False,
    device: Device = "cpu",
    runtime: Runtime = "onnxruntime",
    n_threads: int | None = None,
    block_size: int | None = None,
) -> AnnData:
    """Generate cells from an artifact or a fit.

    Parameters
    ----------
    source
        Path of an artifact, name of a shipped one, bytes, a loaded `Artifact`, the `VAEFit` of
        `fit_vae`, or an open `Generator`, which keeps its own device, threads and block size.
    num_samples
        Number of cells. May be left out where `conditions` say how many.
    conditions
        Which cells to make. None: by the training frequencies, to within a cell or two. A mapping
        from condition keys to

        - a category, ``{"cell_type": "NK"}``: every cell has it;
        - a set, ``{"cell_type": {"NK", "B"}}``: those categories, by their training frequencies;
        - numbers of cells, ``{"cell_type": {"NK": 200, "pDC": 50}, "condition": "STIM"}``;
        - a sequence with one category for each cell;

        or a table of designs, a DataFrame or a list of mappings, with a column ``n_cells`` and a
        column for each key. Keys left out follow the training frequencies, given the others.
        Combinations that no training cell had are served and marked.
    seed
        Integer in [0, 2**64). The same seed gives the same cells, whatever `block_size`,
        `n_threads`, or the split of a run by `first_cell`.
    first_cell
        Global index of the first cell: ``gen_exprs(m, 100)`` equals ``gen_exprs(m, 60)`` and
        ``gen_exprs(m, 40, first_cell=60)`` one after the other.
    shard
        ``(k, n)``, counted from 1: make the kth of n near-equal parts of the run. The parts, made
        anywhere and in any order, are the run.
    library
        Library sizes (total counts) in place of drawn ones: one for all or one for each cell.
        Above 0 and below 2**63; count likelihoods only.
    return_mean
        Return expected values, dense, in place of draws.
    device
        ``"cpu"``, ``"cuda"`` or ``"auto"``.
    runtime
        ``"onnxruntime"``, or ``"portable"``, which makes the same cells on every machine and at
        every version; see `Generator`.
    n_threads
        Threads; by default the cores this process may use.
    block_size
        Cells that one thread makes at a time; see `Generator`.

    Returns
    -------
    AnnData of ``num_samples`` cells: ``X`` CSR float32 (dense with `return_mean`); ``obs`` with
    each condition key as a categorical, ``source`` ("generated"), ``library`` (total counts that
    the decoder was given; count likelihoods) and ``unseen_combination`` (conditional models);
    ``obsm["z"]`` the latent variables; ``uns["vaexprs"]`` the request and the versions, which
    `vaexprs.sinks.provenance.request_of` reads back. Names of cells say artifact, seed, request
    and global index, so that the cells of several calls can be joined.

    Raises
    ------
    ArtifactError
        If the source is not an artifact that can be served.
    ConditionError
        If a key or category is unknown, or the numbers do not add up.
    ArgumentError
        If a number is out of its range, or memory cannot hold the cells.
    DeviceError
        If the device is not to be had.
    MissingExtraError
        If anndata is not installed (`write_exprs` needs none).
    """
    from vaexprs.sinks.memory import MemorySink

    request = make_request(
        _generator(source, device, runtime, n_threads, block_size),
        num_samples,
        conditions=conditions,
        seed=seed,
        first_cell=first_cell,
        library=library,
        return_mean=return_mean,
    )
    if shard is not None:
        request = request.part(shard)
    with request.blocks() as blocks:
        made: AnnData = fill(MemorySink(), request.run(), blocks(0))
        return made


def write_exprs(
    source: Source | Generator,
    path: Target,
    n_cells: int | None = None,
    *,
    conditions: ConditionsLike | Plan = None,
    seed: int = 0,
    first_cell: int = 0,
    shard: tuple[int, int] | None = None,
    library: ArrayLike | None = None,
    return_mean: bool = False,
    device: Device = "cpu",
    runtime: Runtime = "onnxruntime",
    n_threads: int | None = None,
    block_size: int | None = None,
    overwrite: bool = False,
    resume: bool = False,
    n_parts: int | None = None,
    part_format: PartFormat = "zarr",
    dask: str | None = None,
    progress: Callable[[int], object] = lambda n_cells: None,
) -> Any:
    """Generate cells straight into a file, in bounded memory.

    Parameters
    ----------
    source, n_cells, conditions, seed, first_cell, shard, library, return_mean
        As in `gen_exprs`, where ``n_cells`` is called ``num_samples``.
    path
        ``.h5ad``, ``.zarr``, ``.npz`` (SciPy; expected values as plain NumPy), ``.mtx.gz`` (the
        layout of 10x: barcodes and features lie beside it) or ``.arrow`` (record batches), which
        need no anndata, or the suffix of a sink of your own (`vaexprs.sinks.base.register`). It
        appears when it is complete.
        ``.parts`` is a part store: a folder of shards, of which `shard` makes one and
        ``vaexprs merge`` one file. An open binary file gets a stream of Arrow record batches.
    device, runtime, n_threads, block_size
        As in `gen_exprs`.
    overwrite
        Replace an existing file; drop an unfinished run.
    resume
        Go on with an unfinished run of the same request, where one is there: its process was
        killed, interrupted, or met a full disk. The file is that of a run without such an end.
        For ``.h5ad``, ``.zarr`` and ``.parts``; other outputs always start at the first cell.
    n_parts, part_format
        Of a part store: how many shards (by default those of `shard`, else 16, or one for each
        100,000 cells if those are more), and ``"zarr"`` or ``"h5ad"``.
    dask
        Write a part store by the workers of a Dask cluster, of one thread each: ``"local:2"`` for
        two new processes, or the address of a scheduler, ``"tcp://host:port"``, whose workers see
        the folder under the same path.
    progress
        Called with the number of cells of each block written, and first with those that are
        there already.

    Returns
    -------
    The path.

    Raises
    ------
    OutputError
        If the path exists and may not be overwritten, has another suffix, or cannot be written;
        if an unfinished run is there and neither `resume` nor `overwrite` says what to do, it is
        of another request, or damaged.
    ArgumentError
        If `resume`, `n_parts` or `part_format` have no use for this output.
    ArtifactError, ConditionError, DeviceError
        As in `gen_exprs`.
    """
    if dask is not None and (shard is not None or not is_parts(path)):
        raise ArgumentError("dask writes all parts of a folder .parts, and no other output.")
    if is_parts(path):
        target: Any = check_parts(path)
    else:
        target = check_target(path, more=[SUFFIX], overwrite=overwrite or resume)
        if n_parts is not None or part_format != "zarr":
            raise ArgumentError(
                "n_parts and part_format are of part stores: name an output that ends in "
                f"{SUFFIX}, or leave them out."
            )
    request = make_request(
        _generator(source, device, runtime, n_threads, block_size),
        n_cells,
        conditions=conditions,
        seed=seed,
        first_cell=first_cell,
        library=library,
        return_mean=return_mean,
    )
    how: dict[str, Any] = {"overwrite": overwrite, "resume": resume, "progress": progress}
    if is_parts(path):
        with contextlib.ExitStack() as stack:
            how |= {"shard": shard, "n_parts": n_parts, "part_format": part_format}
            if dask is not None:
                from vaexprs.scale.dask_parts import connected, write_by_dask

                client = stack.enter_context(connected(dask))
                how["by"] = partial(write_by_dask, client, progress=progress)
            write_parts(request, target, **how)
    else:
        request = request if shard is None else request.part(shard)
        request.write(target, **how)
    return target


def _generator(
    source: Source | Generator,
    device: Device,
    runtime: Runtime,
    n_threads: int | None,
    block_size: int | None,
) -> Generator:
    if isinstance(source, Generator):
        return source
    return Generator(
        source, device=device, runtime=runtime, n_threads=n_threads, block_size=block_size
    )
