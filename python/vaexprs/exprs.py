"""Generate cells: `gen_exprs` into memory, `write_exprs` onto disk."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from vaexprs.artifact import Source
from vaexprs.checks import known_arguments
from vaexprs.errors import ArgumentError
from vaexprs.generation.decoder import Device
from vaexprs.generation.generator import Block, Generator, check_range
from vaexprs.interrupts import remembered_interrupts
from vaexprs.sinks.base import Run, Target, check_target, fill, write_blocks
from vaexprs.sinks.provenance import name_of, provenance

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["gen_exprs", "write_exprs"]


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
    conditions: Any = None,
    seed: int = 0,
    first_cell: int = 0,
    shard: tuple[int, int] | None = None,
    library: ArrayLike | None = None,
    return_mean: bool = False,
    device: Device = "cpu",
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
        Count likelihoods only.
    return_mean
        Return expected values, dense, in place of draws.
    device
        ``"cpu"``, ``"cuda"`` or ``"auto"``.
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
    DeviceError
        If the device is not to be had.
    MissingExtraError
        If anndata is not installed (`write_exprs` needs none).
    """
    from vaexprs.sinks.memory import MemorySink

    with _run(
        _generator(source, device, n_threads, block_size),
        num_samples,
        conditions=conditions,
        seed=seed,
        first_cell=first_cell,
        shard=shard,
        library=library,
        return_mean=return_mean,
    ) as (run, blocks):
        made: AnnData = fill(MemorySink(), run, blocks)
        return made


def write_exprs(
    source: Source | Generator,
    path: Target,
    n_cells: int | None = None,
    *,
    conditions: Any = None,
    seed: int = 0,
    first_cell: int = 0,
    shard: tuple[int, int] | None = None,
    library: ArrayLike | None = None,
    return_mean: bool = False,
    device: Device = "cpu",
    n_threads: int | None = None,
    block_size: int | None = None,
    overwrite: bool = False,
    progress: Callable[[int], object] = lambda n_cells: None,
) -> Any:
    """Generate cells straight into a file, in bounded memory.

    Parameters
    ----------
    source, n_cells, conditions, seed, first_cell, shard, library, return_mean
        As in `gen_exprs`, where ``n_cells`` is called ``num_samples``.
    path
        ``.h5ad``, ``.zarr``, ``.npz`` (SciPy), ``.mtx.gz`` (the layout of 10x: barcodes and
        features lie beside it) or ``.arrow`` (record batches), which need no anndata, or the suffix
        of a sink of your own (`vaexprs.sinks.base.register`). It appears when it is complete. An
        open binary file gets a stream of Arrow record batches.
    device, n_threads, block_size
        As in `gen_exprs`.
    overwrite
        Replace an existing file.
    progress
        Called with the number of cells of each block written.

    Returns
    -------
    The path.

    Raises
    ------
    OutputError
        If the path exists and may not be overwritten, has another suffix, or cannot be written.
    ArtifactError, ConditionError, DeviceError
        As in `gen_exprs`.
    """
    target = check_target(path, overwrite=overwrite)
    with _run(
        _generator(source, device, n_threads, block_size),
        n_cells,
        conditions=conditions,
        seed=seed,
        first_cell=first_cell,
        shard=shard,
        library=library,
        return_mean=return_mean,
    ) as (run, blocks):
        write_blocks(target, run, blocks, overwrite=overwrite, progress=progress)
    return target


def _generator(
    source: Source | Generator, device: Device, n_threads: int | None, block_size: int | None
) -> Generator:
    if isinstance(source, Generator):
        return source
    return Generator(source, device=device, n_threads=n_threads, block_size=block_size)


def _part(shard: tuple[int, int], n_cells: int) -> tuple[int, int]:
    """Return the first and the last cell, exclusive, of the kth of n parts of a run."""
    try:
        k, n = map(operator.index, shard)
    except (TypeError, ValueError):
        k, n = 0, 0
    if not 1 <= k <= n:
        raise ArgumentError(
            f"shard must be (k, n) with 1 <= k <= n, such as (3, 16), not {shard!r}."
        )
    return n_cells * (k - 1) // n, n_cells * k // n


#: Cells of one output: the row pointers alone would take 8 TB.
_MAX_RUN = 2**40


@contextlib.contextmanager
def _run(
    generator: Generator,
    n_cells: int | None,
    *,
    conditions: Any,
    seed: int,
    first_cell: int,
    shard: tuple[int, int] | None,
    library: ArrayLike | None,
    return_mean: bool,
) -> Iterator[tuple[Run, Iterator[Block]]]:
    """Check a request; give the run and its blocks. Afterwards no worker is left."""
    plan = generator.plan(conditions)
    seed, first_cell, n_cells = check_range(plan, n_cells, first_cell, seed)
    if shard is not None:
        start, stop = _part(shard, n_cells)
        first_cell, n_cells = first_cell + start, stop - start
        if library is not None and np.ndim(library) == 1:
            library = np.asarray(library)[start:stop]
    if n_cells > _MAX_RUN:
        raise ArgumentError(
            f"{n_cells} cells are more than one output can hold ({_MAX_RUN}): make them in parts, "
            "with first_cell."
        )
    request: dict[str, Any] = {
        "n_cells": n_cells,
        "first_cell": first_cell,
        "seed": seed,
        "library": library,
        "return_mean": return_mean,
    }
    blocks = generator.blocks(plan, **request)
    facts = provenance(generator, conditions=conditions, **request)
    run = Run(
        generator.spec,
        n_cells,
        first_cell,
        dense=return_mean,
        uns=facts,
        name=name_of(facts),
        n_threads=generator.n_threads,
    )
    with contextlib.closing(blocks), remembered_interrupts(wait=True) as raise_lost:

        def heeding() -> Iterator[Block]:
            for block in blocks:
                raise_lost()
                yield block

        yield run, heeding()
