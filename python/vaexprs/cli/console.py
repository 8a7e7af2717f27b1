"""Print facts to standard output, and progress and notes to standard error."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
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


@contextlib.contextmanager
def cell_progress(n_cells: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show the progress of a run on standard error, where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeRemaining

    columns = (
        TextColumn("generating"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("cells"),
        TimeRemaining(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("generating", total=n_cells)
        yield lambda n: progress.advance(task, n)
