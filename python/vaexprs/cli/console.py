"""Print facts to standard output, and progress and notes to standard error."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO


def facts(values: Mapping[str, Any], *, as_json: bool, to: TextIO | None = None) -> None:
    """Print facts: as one JSON object, or as aligned lines."""
    with contextlib.redirect_stdout(to or sys.stdout):
        if as_json:
            print_json(values)
        else:
            say("\n".join(rows(values)))


def print_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object."""
    say(json.dumps(values, ensure_ascii=False, indent=2, default=str))


def say(text: str) -> None:
    """Print to standard output; where its reader has gone (``| head``), end quietly."""
    with reader_may_go():
        print(text, flush=True)


@contextlib.contextmanager
def reader_may_go() -> Iterator[None]:
    """End a block quietly where the reader of standard output has gone (``| head``)."""
    try:
        yield
    except BrokenPipeError:
        # What is left in the buffer would fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def rows(values: Mapping[str, Any], indent: str = "") -> list[str]:
    """Return names and values as aligned lines, never wrapped."""
    names = [plain(name) for name in values]
    width = max(map(len, names), default=0)
    texts = (plain(text_of(value)) for value in values.values())
    return [f"{indent}{name:<{width}}  {text}" for name, text in zip(names, texts, strict=True)]


def text_of(value: Any) -> str:
    """Return a value as people read it."""
    if isinstance(value, Mapping):
        if {"units", "activation"} <= value.keys():
            return f"{value.get('name', 'layer')} {value['units']} {value['activation']}"
        return ", ".join(f"{name}: {text_of(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        arrow = " -> " if value and isinstance(value[0], Mapping) else ", "
        return arrow.join(map(text_of, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def plain(text: str) -> str:
    """Replace control characters: names come from files, and a terminal would obey them."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def note(message: str) -> None:
    """Print a message for people to standard error."""
    print(message, file=sys.stderr, flush=True)


def next_command(*words: object) -> None:
    """Print the command that usually follows."""
    note("next: " + shlex.join(map(str, words)))


class Cells:
    """Counts the cells of a run, for its progress and for the facts at its end."""

    def __init__(self) -> None:
        self.n_cells = self._n_before = 0
        self._started: float | None = None

    def __call__(self, n_cells: int) -> None:
        """Count more cells; the first may be those of an earlier run, and tell no speed."""
        self.n_cells += n_cells
        if self._started is None:
            self._started, self._n_before = time.perf_counter(), n_cells

    @property
    def per_second(self) -> float:
        """Cells a second since the first were counted; 0 where there were no others."""
        seconds = time.perf_counter() - self._started if self._started is not None else 0.0
        return (self.n_cells - self._n_before) / max(seconds, 1e-9)


@contextlib.contextmanager
def cell_progress(n_cells: int, output: Path, *, quiet: bool) -> Iterator[Cells]:
    """Show the progress of a run on standard error, where that is a terminal."""
    cells = Cells()
    if quiet or not sys.stderr.isatty():
        yield cells
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.text import Text

    from vaexprs.files import bytes_at, partial_of

    class Figures(ProgressColumn):
        max_refresh = 1.0  # seconds: it looks at every file of a store

        def render(self, task: Task) -> Text:
            speed, written = cells.per_second, bytes_at(partial_of(output)) + bytes_at(output)
            left = f"{(n_cells - cells.n_cells) / speed:,.0f} s left" if speed else "..."
            return Text(f"{speed:,.0f} cells/s  {left}  {written / 1e6:,.0f} MB")

    text = "{task.completed:,.0f}/{task.total:,.0f} cells ({task.percentage:.0f} %)"
    columns = TextColumn("generating"), BarColumn(), TextColumn(text), Figures()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("generating", total=n_cells)

        class Shown(Cells):
            def __call__(self, n_cells: int) -> None:
                super().__call__(n_cells)
                progress.advance(task, n_cells)

        cells = Shown()
        yield cells


def run_facts(cells: Cells, output: Path, started: float, *, as_json: bool) -> dict[str, Any]:
    """Return the figures of a run that is done, for `facts`; more of them for programs."""
    from vaexprs.files import bytes_at

    seconds = {"seconds": round(time.perf_counter() - started, 3)}
    if not as_json:
        return seconds
    facts: dict[str, Any] = {"bytes": bytes_at(output)}
    if cells.per_second:
        facts["cells_per_second"] = round(cells.per_second, 1)
    return facts | seconds
