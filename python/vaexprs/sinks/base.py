"""The sink protocol, the registry of formats, and the loop that fills a sink.

A new format is a class with the four methods of `Sink` and a line in `SINKS`, or a call of
`register` from elsewhere. The suffix of the output then chooses it, in `vaexprs.write_exprs` and
in ``vaexprs generate``.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

from vaexprs.errors import ArgumentError, OutputError
from vaexprs.files import JOURNAL, Kind, as_path, check_output, partial_of, whole_files
from vaexprs.generation.generator import Block
from vaexprs.generation.observation import CSR
from vaexprs.sinks.journal import Journal, State, read_journal
from vaexprs.sinks.provenance import differences, identity
from vaexprs.spec import GeneratorSpec

#: A path, whose suffix chooses the sink, or an open binary file.
Target: TypeAlias = str | os.PathLike[str] | BinaryIO

#: Bytes that a stored value takes at the very least; compressed counts take about two.
_LEAST_BYTES = 0.25


@dataclass(frozen=True)
class Run:
    """What is known of a run before its first cell.

    Attributes
    ----------
    spec
        The generator's promise: genes, condition keys, likelihood.
    n_cells, first_cell
        The range of cells, by global index.
    dense
        Whether blocks hold dense expected values; CSR rows otherwise.
    uns
        Provenance, for ``uns["vaexprs"]``; see `vaexprs.sinks.provenance`.
    name
        What the names of the cells begin with.
    n_threads
        Threads that a sink may use to compress.
    """

    spec: GeneratorSpec
    n_cells: int
    first_cell: int
    dense: bool
    uns: dict[str, Any]
    name: str
    n_threads: int = 1

    def cell_names(self, first_cell: int, n_cells: int) -> list[str]:
        """Return the names of a range of cells, by global index."""
        return [f"{self.name}_{i}" for i in range(first_cell, first_cell + n_cells)]


class Sink(Protocol):
    """Takes the blocks of one run, in order.

    It is made with the path to write, where nothing is yet. That path is temporary: the file is
    moved to its own name after `commit`, and removed after `abort`. A sink of several files has a
    static method `beside`, which returns the paths of the others; it is made with all of them.

    A sink with an attribute ``resumes = True`` is made with a `Journal` besides: it hands over its
    state when that is due, and opens where the journal's state says. What it wrote then stays
    after `abort`, for a later run to go on.
    """

    def open(self, run: Run) -> None:
        """Prepare for the cells of a run."""

    def write(self, block: Block) -> None:
        """Take the next block."""

    def commit(self) -> object:
        """Finish; every cell has come."""

    def abort(self) -> None:
        """Let go of everything, at any time, and raise nothing."""


#: Sinks by suffix: a callable that takes the path, or "module:name" of one, imported at need.
SINKS: dict[str, str | Callable[..., Sink]] = {
    ".h5ad": "vaexprs.sinks.h5ad:H5adSink",
    ".zarr": "vaexprs.sinks.zarr_store:ZarrSink",
    ".npz": "vaexprs.sinks.npz:NpzSink",
    ".mtx.gz": "vaexprs.sinks.mtx:MtxSink",
    ".arrow": "vaexprs.sinks.arrow:ArrowSink",
}


def register(suffix: str, sink: Callable[[Path], Sink]) -> None:
    """Let outputs of a suffix, such as ``".parquet"``, be written by a sink of your own."""
    SINKS[suffix] = sink


def check_target(path: Target, *, more: Iterable[str] = (), overwrite: bool = False) -> Any:
    """Refuse an output before any work; see `vaexprs.files.check_output`.

    Its suffix is that of a sink, or one of ``more``.
    """
    if hasattr(path, "write") and not isinstance(path, str | os.PathLike):
        return path
    return check_output(
        path, suffixes=[*SINKS, *more], kind=_kind(as_path(path)), overwrite=overwrite
    )


def write_blocks(
    path: Target,
    run: Run,
    blocks: Callable[[int], Iterable[Block]],
    *,
    overwrite: bool = False,
    resume: bool = False,
    progress: Callable[[int], object] = lambda n_cells: None,
) -> None:
    """Write the blocks of a run to a file, which appears under its name when it is complete.

    Parameters
    ----------
    path
        File to write; its suffix chooses the sink. An open binary file gets a stream of Arrow
        record batches.
    run
        The run.
    blocks
        Returns its blocks in order, but for the first so many cells.
    overwrite
        Replace an existing file; drop an unfinished run, unless `resume`.
    resume
        Go on with an unfinished run of the same request, if one is there.
    progress
        Called with the number of cells of each block written, and first with those that are
        there already.

    Raises
    ------
    ArgumentError
        If a run is to go on that writes no ``.h5ad`` or ``.zarr``.
    OutputError
        If the suffix is unknown, the file exists and may not be overwritten, or cannot be
        written; if the disk cannot hold the cells, judged by the first block; if an unfinished
        run is there that is of another request, or neither to be gone on with nor to be dropped.
    """
    if hasattr(path, "write") and not isinstance(path, str | os.PathLike):
        if resume:
            raise _not_resumed("a stream")
        fill(_made(SINKS[".arrow"])(path), run, blocks(0), progress)
        return
    target = check_target(path, overwrite=overwrite)
    sink, kind = _sink(target), _kind(target)
    targets = [target, *getattr(sink, "beside", lambda path: [])(target)]
    if not getattr(sink, "resumes", False):
        if resume:
            raise _not_resumed(target.name)
        with whole_files(targets, kind=kind, overwrite=overwrite) as partials:
            fill(sink(*partials), run, _if_room(target, run.n_cells, blocks(0)), progress)
        return
    journal = Journal(partial_of(target) / JOURNAL, identity(run.uns), run.n_cells)

    def unfinished(place: Path) -> bool:
        if (overwrite and not resume) or not place.with_name(target.name).exists():
            return False
        state = _state_of(place, target, run, resume=resume)
        if state is not None:
            journal.start_at(state)
        return state is not None

    with (
        whole_files(targets, kind=kind, overwrite=overwrite, unfinished=unfinished) as partials,
        contextlib.closing(journal),
    ):
        n_done = journal.n_done
        rest = _if_room(target, run.n_cells - n_done, blocks(n_done))
        fill(sink(*partials, journal), run, rest, progress, n_done)


def _not_resumed(what: str) -> ArgumentError:
    return ArgumentError(
        f"resume: a run into {what} always starts at its first cell: write .h5ad, .zarr or .parts, "
        "which a run can go on with, or leave resume out (--resume)."
    )


def _if_room(target: Path, n_cells: int, blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield the blocks of a number of cells; refuse the first where the disk cannot hold all."""
    for number, block in enumerate(blocks):
        if number == 0:
            n_values = len(block.X.data) if isinstance(block.X, CSR) else block.X.size
            least = n_cells * n_values / block.n_cells * _LEAST_BYTES
            if least > (free := shutil.disk_usage(target.parent).free):
                raise OutputError(
                    f"{target} was not written: {n_cells:,} cells take {least / 1e9:,.1f} GB or "
                    f"more, and {free / 1e9:,.1f} GB are free on the disk: lower the number of "
                    "cells or write elsewhere."
                )
        yield block
        del block  # not held while the next is made


def _state_of(place: Path, target: Path, run: Run, *, resume: bool) -> State | None:
    """Return the state of an unfinished run of this request, which may be gone on with.

    None if nothing of it is known to be on the disk.
    """
    there, state = read_journal(place)
    if other := differences(there, identity(run.uns)):
        raise OutputError(
            f"an unfinished run of another request is at {target} ({other}): repeat that request "
            "with resume=True (--resume), choose another name, or start anew with overwrite=True "
            "(--overwrite)."
        )
    if not resume:
        n_done = int(state["n_done"]) if state else 0
        raise OutputError(
            f"an unfinished run of the same request is there: {n_done:,} of {run.n_cells:,} cells "
            f"of {target}; add --resume or --overwrite (resume=True, overwrite=True)."
        )
    return state


def _sink(path: Path) -> Callable[..., Sink]:
    return _made(SINKS[next(suffix for suffix in SINKS if path.name.endswith(suffix))])


def _made(sink: str | Callable[..., Sink]) -> Callable[..., Sink]:
    if isinstance(sink, str):
        module, _, name = sink.partition(":")
        sink = getattr(importlib.import_module(module), name)
        assert callable(sink)
    return sink


def _kind(path: str | os.PathLike[str]) -> Kind:
    return "zarr" if Path(path).suffix == ".zarr" else "file"


def fill(
    sink: Sink,
    run: Run,
    blocks: Iterable[Block],
    progress: Callable[[int], object] = lambda n_cells: None,
    n_done: int = 0,
) -> Any:
    """Run a sink over blocks, after the cells that it has, and return what `commit` returns."""
    try:
        n_cells = n_done
        if n_done:
            progress(n_done)
        for block in _opened(sink, run, blocks):
            sink.write(block)
            n_cells += block.n_cells
            progress(block.n_cells)
        if n_cells != run.n_cells:
            raise OutputError(f"{run.n_cells} cells were expected and {n_cells} came.")
        return sink.commit()
    except BaseException:
        sink.abort()
        raise


def _opened(sink: Sink, run: Run, blocks: Iterable[Block]) -> Iterator[Block]:
    # The sink opens once the first block is here, while workers are on the next ones: writing
    # the names of 20,000 genes takes as long as a block.
    rest = iter(blocks)
    first = next(rest, None)
    sink.open(run)
    if first is not None:
        yield first
    del first
    yield from rest
