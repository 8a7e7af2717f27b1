"""The two verbs of generation: `gen_exprs` into memory, `write_exprs` onto disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from vaexprs.artifact import Source
from vaexprs.errors import OutputError
from vaexprs.files import check_output
from vaexprs.generation.decoder import Device
from vaexprs.generation.generator import Block, Generator, check_range
from vaexprs.interrupts import remembered_interrupts
from vaexprs.sinks.obs import provenance

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["gen_exprs", "write_exprs"]


def gen_exprs(
    vae_or_path: Source | Generator,
    num_samples: int | None = None,
    *,
    conditions: Any = None,
    seed: int = 0,
    first_cell: int = 0,
    library: ArrayLike | None = None,
    return_mean: bool = False,
    device: Device = "cpu",
    n_threads: int | None = None,
    block_size: int | None = None,
) -> AnnData:
    """Generate cells from an artifact or a fit.

    Parameters
    ----------
    vae_or_path
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
    ``obsm["z"]`` the latent variables; ``uns["vaexprs"]`` the provenance.

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
    from vaexprs.sinks.memory import to_anndata

    generator = _generator(vae_or_path, device, n_threads, block_size)
    with _run(generator, num_samples, conditions, seed, first_cell, library, return_mean) as run:
        return to_anndata(generator.spec, **run, return_mean=return_mean)


def write_exprs(
    vae_or_path: Source | Generator,
    path: str | os.PathLike[str],
    num_samples: int | None = None,
    *,
    conditions: Any = None,
    seed: int = 0,
    first_cell: int = 0,
    library: ArrayLike | None = None,
    return_mean: bool = False,
    device: Device = "cpu",
    n_threads: int | None = None,
    block_size: int | None = None,
    overwrite: bool = False,
    progress: Callable[[int], object] = lambda n_cells: None,
) -> Path:
    """Generate cells straight into a file, in bounded memory.

    Parameters
    ----------
    vae_or_path, num_samples, conditions, seed, first_cell, library, return_mean
        As in `gen_exprs`; the file holds what its AnnData would.
    path
        ``.h5ad`` (needs no anndata) or ``.zarr``. It appears when it is complete.
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
    target = check_output(path, overwrite=overwrite)
    if target.suffix == ".h5ad":
        from vaexprs.sinks.h5ad import write_h5ad as write
    elif target.suffix == ".zarr":
        from vaexprs.sinks.zarr_store import write_zarr as write
    else:
        raise OutputError(f"{target}: the suffix must be .h5ad or .zarr, not {target.suffix!r}.")
    generator = _generator(vae_or_path, device, n_threads, block_size)
    with _run(generator, num_samples, conditions, seed, first_cell, library, return_mean) as run:
        write(
            target,
            generator.spec,
            **run,
            return_mean=return_mean,
            overwrite=overwrite,
            progress=progress,
        )
    return target


def _generator(
    source: Source | Generator, device: Device, n_threads: int | None, block_size: int | None
) -> Generator:
    if isinstance(source, Generator):
        return source
    return Generator(source, device=device, n_threads=n_threads, block_size=block_size)


@contextlib.contextmanager
def _run(
    generator: Generator,
    n_cells: int | None,
    conditions: Any,
    seed: int,
    first_cell: int,
    library: ArrayLike | None,
    return_mean: bool,
) -> Iterator[dict[str, Any]]:
    """Check a request and give what every sink needs of it; afterwards no worker is left."""
    plan = generator.plan(conditions)
    seed, first_cell, n_cells = check_range(plan, n_cells, first_cell, seed)
    blocks = generator.blocks(
        plan,
        n_cells=n_cells,
        first_cell=first_cell,
        seed=seed,
        library=library,
        return_mean=return_mean,
    )
    uns = provenance(
        generator,
        seed=seed,
        first_cell=first_cell,
        n_cells=n_cells,
        return_mean=return_mean,
        library=None if library is None else np.asarray(library, dtype=np.float32),
    )
    with contextlib.closing(blocks), remembered_interrupts(wait=True) as raise_lost:

        def heeding() -> Iterator[Block]:
            for block in blocks:
                raise_lost()
                yield block

        yield {"blocks": heeding(), "n_cells": n_cells, "first_cell": first_cell, "uns": uns}
