"""The generator: an artifact in, an ordered stream of blocks of cells out.

One block is one worker's work on one core, from the latent draw to the CSR rows, so that its
arrays stay in cache; blocks run side by side and leave in order. The values of a cell depend
on the artifact, the plan, the seed and the cell's global index, and on nothing else.
"""

from __future__ import annotations

import collections.abc
import importlib
import os
import textwrap
import weakref
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaexprs.artifact import Source, load_artifact
from vaexprs.artifact.lowering import lower
from vaexprs.errors import ArgumentError, ArtifactError, ConditionError, near_matches
from vaexprs.generation.blocks import Block, Job, n_together, pieces
from vaexprs.generation.decoder import Decoder, Device
from vaexprs.generation.plan import Plan
from vaexprs.generation.portable import PortableDecoder
from vaexprs.generation.request import ConditionsLike, make_plan
from vaexprs.generation.stream import Batch, batches, share_of
from vaexprs.spec import GeneratorSpec
from vaexprs.spec.inputs import Inputs

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["Block", "Generator", "available_cores"]

#: Most cells of a run: indices are 64-bit integers with a sign in every stored form.
_MAX_CELLS = 2**63 - 1
#: Library sizes lie below it, as means do, whose draws are held in 64-bit integers.
_LARGEST_LIBRARY = 2.0**63

#: What runs the decoder.
Runtime: TypeAlias = Literal["onnxruntime", "portable"]


class Generator:
    """Generates cells from an artifact.

    Parameters
    ----------
    source
        Path of an artifact, name of a shipped one, bytes, a loaded `Artifact`, or a fit.
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"auto"``; see `Decoder`.
    runtime
        What runs the decoder. ``"onnxruntime"`` is the fast one; last bits of means, and so now and
        then a value, depend on its version and on the kind of processor. ``"portable"`` is the C++
        core, which makes the same cells on every machine and at every version. Of their values
        fewer than one in a million differs.
    n_threads
        Blocks computed side by side; by default the cores this process may use.
    block_size
        Cells in a block; by default a tile of the decoder, 64 to 512 cells by the number of genes.
        No effect on the cells.

    Attributes
    ----------
    spec
        Contents of the artifact besides its graph, a `GeneratorSpec`.
    sha256, path
        Identity of the artifact, and where it was read from or None.
    n_threads, block_size, runtime
        As given or chosen.

    A generator can be pickled, copied and sent to other processes, where the artifact is opened
    once from its path, or from its bytes where it has no path.

    Raises
    ------
    ArtifactError
        If the source is not an artifact that can be served.
    DeviceError
        If the device is not to be had.

    Examples
    --------
    >>> generator = Generator("model.onnx")  # doctest: +SKIP
    >>> plan = generator.plan({"cell_type": "NK"})  # doctest: +SKIP
    >>> for block in generator.blocks(plan, n_cells=1_000_000, seed=1):  # doctest: +SKIP
    ...     consume(block.X.data, block.X.indices, block.X.indptr)
    """

    def __init__(
        self,
        source: Source,
        *,
        device: Device = "cpu",
        runtime: Runtime = "onnxruntime",
        n_threads: int | None = None,
        block_size: int | None = None,
    ) -> None:
        if runtime not in get_args(Runtime):
            raise ArgumentError(
                f"unknown runtime {runtime!r}: " + near_matches(runtime, get_args(Runtime))
            )
        for name, value in (("n_threads", n_threads), ("block_size", block_size)):
            wrong = isinstance(value, bool) or not isinstance(value, int) or value < 1
            if value is not None and wrong:
                raise ArgumentError(f"{name} must be a positive integer, not {value!r}.")
        artifact = load_artifact(source)
        self.spec = artifact.spec
        self.sha256 = artifact.sha256
        self.path = artifact.path
        # Opens it again elsewhere. (Here the decoder has weights of its own.)
        self._source = os.path.abspath(self.path) if self.path else artifact.model_bytes
        self.runtime: Runtime = runtime
        self._options = device, runtime, n_threads, block_size
        how: dict[str, Any] = {"device": device, "name": self.path or "the artifact"}
        self._decoder: Decoder | PortableDecoder = (
            PortableDecoder(artifact, **how)
            if runtime == "portable"
            else Decoder(self.spec, lower(artifact), **how)
        )
        self.n_threads = n_threads or available_cores()
        self.block_size = block_size or self._decoder.tile
        self._inputs: tuple[Plan, Inputs] | None = None
        _opened[os.getpid(), self.sha256, *self._options] = self

    def __repr__(self) -> str:
        spec = self.spec
        keys = ", ".join(f"{key.name} ({len(key.categories)})" for key in spec.conditions.keys)
        return (
            f"Generator of {self.path or 'bytes'} (sha256 {self.sha256[:12]})\n"
            f"  {spec.likelihood}, {spec.n_genes:,} genes, {spec.n_latent} latent variables\n"
            f"  conditions: {textwrap.shorten(keys or 'none', 200)}\n"
            f"  {self.runtime} on {self.device}, {self.n_threads} threads, blocks of "
            f"{self.block_size} cells"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the path and hash of the artifact, or as its bytes where it has no path."""
        return _opened_once, (self._source, self.sha256, *self._options)

    def model_bytes(self) -> bytes:
        """Return the artifact, for processes that do not see its path."""
        artifact = load_artifact(self._source)
        _check_same(artifact.sha256, self.sha256, self.path)
        return artifact.model_bytes

    @property
    def device(self) -> str:
        """Where the decoder runs: ``"cpu"`` or ``"cuda"``."""
        return self._decoder.device

    def plan(self, conditions: ConditionsLike = None) -> Plan:
        """Return the plan of a request: which cells are of which condition.

        Where a request leaves numbers open, conditions follow the training frequencies as a
        stratified sample, see `Plan`. `gen_exprs` lists the kinds of request.
        """
        return replace(make_plan(self.spec.conditions, conditions), request=conditions)

    def blocks(
        self,
        plan: Plan | ConditionsLike = None,
        *,
        n_cells: int | None = None,
        first_cell: int = 0,
        seed: int = 0,
        library: ArrayLike | None = None,
        return_mean: bool = False,
    ) -> collections.abc.Generator[Block, None, None]:
        """Yield the cells ``first_cell`` to ``first_cell + n_cells`` of a plan, in order.

        Parameters
        ----------
        plan
            From `plan`, or what `plan` takes; by default the training frequencies.
        n_cells
            Number of cells; may be left out where the plan is a layout of its own length.
        first_cell
            Global index of the first cell, for runs that are cut and resumed.
        seed
            Integer in [0, 2**64).
        library
            Library sizes in place of drawn ones, in counts: one for all, or one for each cell of
            this call.
        return_mean
            Yield expected values, dense, in place of draws.

        Raises
        ------
        ConditionError
            If the plan holds fewer cells than were asked for.
        ValueError
            If a number is out of its range.
        """
        plan = plan if isinstance(plan, Plan) else self.plan(plan)
        seed, first_cell, n_cells = check_range(plan, n_cells, first_cell, seed)
        sizes = _check_library(self.spec, library, n_cells)
        job = Job(self._decoder, self.inputs_of(plan), seed, sizes, first_cell, return_mean)
        return self._stream(job, first_cell, first_cell + n_cells)

    def stream(
        self,
        batch_size: int = 256,
        *,
        conditions: ConditionsLike = None,
        balanced: bool = True,
        seed: int = 0,
        dense: bool = False,
        return_mean: bool = False,
        shard: tuple[int, int] = (1, 1),
    ) -> collections.abc.Iterator[Batch]:
        """Return an endless iterator of batches ``(X, codes, obs)``, as trainers read them.

        Parameters
        ----------
        batch_size
            Cells in a batch.
        conditions
            Categories or sets of them, as in `vaexprs.gen_exprs`; numbers of cells have an end.
        balanced
            Give every combination of categories the same share, in place of its training
            frequency. Shares hold within each 256 cells, to a cell or two.
        seed
            The same seed gives the same batches, whatever the threads.
        dense
            Give `X` as an array in place of CSR.
        return_mean
            Give expected values, dense, in place of draws.
        shard
            ``(k, n)``, counted from 1: the kth of n streams that have no cell in common, and
            together are the stream without it.

        Raises
        ------
        ConditionError
            If a key or category is unknown, or numbers of cells are asked for.
        """
        batch_size = _integer("batch_size", batch_size, _MAX_CELLS)
        if batch_size < 1:
            raise ArgumentError("batch_size must be 1 or more.")
        plan, share = self.plan(conditions), share_of(shard)
        if plan.total is not None:
            raise ConditionError(
                "a stream has no end, and the conditions lay out numbers of cells: ask for "
                "categories or sets of them, or use blocks()."
            )
        plan = plan.balanced() if balanced else plan
        seed, _, _ = check_range(plan, 0, 0, seed)

        def blocks(first: int, last: int) -> collections.abc.Iterator[Block]:
            return self.blocks(
                plan, n_cells=last - first, first_cell=first, seed=seed, return_mean=return_mean
            )

        return batches(self.spec, blocks, batch_size, share, _MAX_CELLS, dense)

    def to_dask(
        self,
        plan: Any = None,
        *,
        n_cells: int | None = None,
        first_cell: int = 0,
        seed: int = 0,
        chunk: int | None = None,
    ) -> AnnData:
        """Return cells as an AnnData whose ``X`` is a lazy Dask array of CSR blocks.

        ``X`` and ``obsm["z"]`` are made block by block when they are asked for, in any process of
        any Dask scheduler, each of which opens the artifact once. A block is a function of its
        index alone; the same request gives the same names of Dask keys. ``obs`` is that of
        `vaexprs.gen_exprs`, which takes no decoder.

        Parameters
        ----------
        plan
            From `plan`, or what `plan` takes; by default the training frequencies.
        n_cells, first_cell, seed
            As in `blocks`.
        chunk
            Cells in a block of ``X``; by default as many as would be 64 MiB if they were dense.

        Raises
        ------
        MissingExtraError
            If dask or anndata is not installed.
        ArgumentError, ConditionError
            As in `blocks`.
        """
        # Of a room above this one, so it is named and not imported.
        home = importlib.import_module("vaexprs.scale.dask_arrays")
        how = {"n_cells": n_cells, "first_cell": first_cell, "seed": seed, "chunk": chunk}
        cells: AnnData = home.to_dask(self, plan, **how)
        return cells

    def inputs_of(self, plan: Plan) -> Inputs:
        """Return the inputs of a plan; those of the last one are kept, for many small requests."""
        last = self._inputs
        if last is None or last[0] is not plan:
            endless = plan.total is None
            runs = plan.bounds, plan.run_groups
            last = plan, Inputs(self.spec, plan.combinations, *runs, endless=endless)
            self._inputs = last
        return last[1]

    def _stream(
        self, job: Job, start: int, stop: int
    ) -> collections.abc.Generator[Block, None, None]:
        size, tile = self.block_size, self._decoder.tile
        if self.n_threads == 1 or stop - start <= size:
            step = size * max(tile // size, 1)
            for first in range(start, stop, step):
                last = min(first + step, stop)
                yield from job.blocks(
                    [(at, min(at + size, last)) for at in range(first, last, size)]
                )
            return
        # A window of pieces under way bounds memory when the consumer is slower than we are; a few
        # more than there are workers, so that none waits while the consumer is at work.
        n_at_most = n_together(size * self.spec.n_genes) if size >= tile else tile // size
        pool = ThreadPoolExecutor(self.n_threads, thread_name_prefix="vaexprs")
        window: deque[Future[list[Block]]] = deque()
        try:
            for cuts in pieces(start, stop, size, self.n_threads, n_at_most):
                window.append(pool.submit(job.blocks, cuts))
                if len(window) > self.n_threads + 2:
                    yield from window.popleft().result()
            while window:
                yield from window.popleft().result()
        finally:
            job.stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)


#: Open generators by process (a session of the runtime does not outlive a fork), hash and options.
_opened: weakref.WeakValueDictionary[tuple[Any, ...], Generator] = weakref.WeakValueDictionary()


def _opened_once(
    source: str | bytes,
    sha256: str,
    device: Device,
    runtime: Runtime,
    n_threads: int | None,
    block_size: int | None,
) -> Generator:
    """Return the generator that a pickle stands for; a process opens it once."""
    options = device, runtime, n_threads, block_size
    generator = _opened.get((os.getpid(), sha256, *options))
    if generator is None:
        generator = Generator(
            source, device=device, runtime=runtime, n_threads=n_threads, block_size=block_size
        )
        _check_same(generator.sha256, sha256, generator.path)
    return generator


def _check_same(found: str, expected: str, path: str | None) -> None:
    if found != expected:
        raise ArtifactError(
            f"{path}: this is another artifact than the one that was sent here: "
            f"expected sha256 {expected}, found {found}."
        )


def check_range(
    plan: Plan, n_cells: int | None, first_cell: int, seed: int
) -> tuple[int, int, int]:
    """Check seed and range against a plan; return them with the number of cells filled in."""
    seed = _integer("seed", seed, 2**64 - 1)
    first_cell = _integer("first_cell", first_cell, _MAX_CELLS)
    if n_cells is None:
        if plan.total is None:
            raise ConditionError(
                "the number of cells is missing: give it, or ask for numbers of cells by condition."
            )
        n_cells = max(plan.total - first_cell, 0)
    n_cells = _integer("the number of cells", n_cells, _MAX_CELLS - first_cell)
    if plan.total is not None and first_cell + n_cells > plan.total:
        raise ConditionError(
            f"cells {first_cell} to {first_cell + n_cells} were asked for, and the conditions lay "
            f"out {plan.total} cells: lower the number of cells or ask for more. (A list is one "
            "category for each cell; a set is a choice of categories.)"
        )
    return seed, first_cell, n_cells


def _integer(name: str, value: Any, largest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ArgumentError(f"{name} must be an integer, not {value!r}.")
    if not 0 <= value <= largest:
        raise ArgumentError(f"{name} must lie between 0 and {largest}, not {value}.")
    return int(value)


def _check_library(
    spec: GeneratorSpec, library: ArrayLike | None, n_cells: int
) -> NDArray[np.float32] | None:
    if library is None:
        return None
    if not spec.is_counts:
        raise ArgumentError(
            f"library= was given, and the likelihood {spec.likelihood!r} has no library size: "
            "leave it out."
        )
    try:
        with np.errstate(over="ignore"):  # of float64: refused below as infinite
            sizes = np.asarray(library, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"library must be one number or {n_cells} of them, got {library!r:.80}."
        ) from error
    if _no_numbers(library):
        raise ArgumentError(f"library sizes must be numbers, got {library!r:.80}.")
    if sizes.ndim > 1 or (sizes.ndim == 1 and len(sizes) != n_cells):
        raise ArgumentError(
            f"library must be one number or {n_cells} of them, got shape {sizes.shape}."
        )
    wrong = sizes[~((sizes > 0) & (sizes < _LARGEST_LIBRARY))]
    if wrong.size:
        raise ArgumentError(f"library sizes must lie above 0 and below 2^63, got {wrong[0]:g}.")
    return np.broadcast_to(sizes, (n_cells,))


def _no_numbers(values: Any) -> bool:
    """Return whether values are strings or bools, which NumPy would turn into numbers."""
    given = np.asarray(values)
    return given.dtype.kind in "bSU" or (
        given.dtype == object and any(isinstance(each, str | bool) for each in given.ravel())
    )


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
