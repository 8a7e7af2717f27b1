"""What the commands print: facts on standard output, progress on standard error."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["cell_progress", "facts", "note"]


def facts(values: Mapping[str, Any], *, as_json: bool) -> None:
    """Print facts: as one JSON object, or as aligned lines."""
    if as_json:
        print(json.dumps(values, ensure_ascii=False, indent=2, default=str))
        return
    width = max(map(len, values), default=0)
    for name, value in values.items():
        print(f"{name:<{width}}  {_text(value)}")


def note(message: str) -> None:
    """Print a message for people to standard error."""
    print(message, file=sys.stderr)


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


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_text(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
