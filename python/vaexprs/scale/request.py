"""A checked request of cells: what one process, or many, make a run from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from collections.abc import Generator as Iterators
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vaexprs.errors import ArgumentError
from vaexprs.files import remove_leftover
from vaexprs.generation.generator import Block, Generator, check_range
from vaexprs.generation.plan import Plan
from vaexprs.generation.request import ConditionsLike
from vaexprs.generation.stream import share_of
from vaexprs.interrupts import remembered_interrupts
from vaexprs.scale.stored import facts_of, open_stored
from vaexprs.sinks.base import Run, Target, write_blocks
from vaexprs.sinks.provenance import identity, name_of, provenance

#: Cells of one output: the row pointers alone would take 8 TB.
_MAX_RUN = 2**40


@dataclass(frozen=True)
class Request:
    """Which cells to make, and what makes them; a request can be pickled."""

    # What makes the cells, and which are of which condition.
    generator: Generator
    plan: Plan
    n_cells: int
    first_cell: int
    seed: int
    library: ArrayLike | None
    return_mean: bool

    def part(self, shard: Any) -> Request:
        """Return the kth of n near-equal parts of the request, for a shard ``(k, n)``."""
        k, n = share_of(shard)
        start, stop = self.n_cells * k // n, self.n_cells * (k + 1) // n
        given = self.library is not None and np.ndim(self.library) == 1
        return replace(
            self,
            n_cells=stop - start,
            first_cell=self.first_cell + start,
            library=np.asarray(self.library)[start:stop] if given else self.library,
        )

    def facts(self) -> dict[str, Any]:
        """Return ``uns["vaexprs"]`` of the cells."""
        return provenance(
            self.generator,
            conditions=self.plan.request,
            seed=self.seed,
            first_cell=self.first_cell,
            n_cells=self.n_cells,
            library=self.library,
            return_mean=self.return_mean,
        )

    def run(self) -> Run:
        """Return what a sink is told of the cells."""
        if self.n_cells > _MAX_RUN:
            raise ArgumentError(
                f"{self.n_cells} cells are more than one output can hold ({_MAX_RUN}): make them "
                "in parts, with shard or first_cell."
            )
        facts = self.facts()
        return Run(
            self.generator.spec,
            self.n_cells,
            self.first_cell,
            dense=self.return_mean,
            uns=facts,
            name=name_of(facts),
            n_threads=self.generator.n_threads,
        )

    @contextlib.contextmanager
    def blocks(self) -> Iterator[Callable[[int], Iterator[Block]]]:
        """Give a function that returns the blocks but for the first so many cells.

        Afterwards no worker is left.
        """
        with contextlib.ExitStack() as stack:
            raise_lost = stack.enter_context(remembered_interrupts(wait=True))

            def heeding(n_done: int) -> Iterator[Block]:
                for block in stack.enter_context(contextlib.closing(self._from(n_done))):
                    raise_lost()
                    yield block

            yield heeding

    def write(
        self,
        path: Target,
        *,
        overwrite: bool = False,
        resume: bool = False,
        progress: Callable[[int], object] = lambda n_cells: None,
    ) -> None:
        """Write the cells; see `vaexprs.sinks.base.write_blocks`.

        With `resume` a file that holds the cells already stays as it is.
        """
        run = self.run()
        if resume and not overwrite and (whole := _holds(path, run)):
            remove_leftover(whole)
            progress(run.n_cells)
            return
        with self.blocks() as blocks:
            write_blocks(path, run, blocks, overwrite=overwrite, resume=resume, progress=progress)

    def _from(self, n_done: int) -> Iterators[Block, None, None]:
        sizes = self.library
        if sizes is not None and np.ndim(sizes) == 1:
            sizes = np.asarray(sizes)[n_done:]
        return self.generator.blocks(
            self.plan,
            n_cells=self.n_cells - n_done,
            first_cell=self.first_cell + n_done,
            seed=self.seed,
            library=sizes,
            return_mean=self.return_mean,
        )


def _holds(path: Target, run: Run) -> Path | None:
    """Return the path of a file if it holds the cells of a run."""
    if not isinstance(path, str | os.PathLike):
        return None
    file = Path(path)
    if file.suffix not in (".h5ad", ".zarr") or not file.exists():
        return None
    with open_stored(file) as root:
        return file if identity(facts_of(root)) == identity(run.uns) else None


def make_request(
    generator: Generator,
    n_cells: int | None,
    *,
    conditions: ConditionsLike | Plan,
    seed: int,
    first_cell: int,
    library: ArrayLike | None,
    return_mean: bool,
) -> Request:
    """Check a request and return it; arguments are those of `vaexprs.gen_exprs`.

    ``conditions`` may be a `Plan` too.
    """
    plan = conditions if isinstance(conditions, Plan) else generator.plan(conditions)
    seed, first_cell, n_cells = check_range(plan, n_cells, first_cell, seed)
    request = Request(generator, plan, n_cells, first_cell, seed, library, return_mean)
    request._from(0).close()  # checks library sizes
    return request
