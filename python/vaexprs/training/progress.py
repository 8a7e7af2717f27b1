"""Progress of a fit on stderr: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

#: Updates of a phase from one plain line to the next, so that a log stays short.
_UPDATES_OF_LINE = 10


class Show(Protocol):
    """Shows how far a phase has come."""

    def __call__(self, text: str = "", done: int | None = None) -> None:
        """Show a text, and how much of the phase's total is done."""


class Report:
    """Shows the phases of a fit, one bar or line each, if `visible`; enter it as a context."""

    def __init__(self, visible: bool) -> None:
        self._console = Console(stderr=True, quiet=not visible, highlight=False, soft_wrap=True)
        self._bars = Progress(
            TextColumn("{task.description:<11}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=12),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}"),
            console=self._console,
            disable=not (visible and self._console.is_terminal),
        )

    def __enter__(self) -> Report:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Show]:
        """Show a phase while the block runs; yields a function that shows its progress."""
        started, updates = time.perf_counter(), 0
        task = self._bars.add_task(name, total=total, text="")

        def show(text: str = "", done: int | None = None) -> None:
            nonlocal updates
            self._bars.update(task, text=text, completed=done)
            if self._bars.disable and text and updates % _UPDATES_OF_LINE == 0:
                self.line(f"{name}: {text}")
            updates += 1

        yield show
        self._bars.update(task, total=1, completed=1)
        if self._bars.disable:
            self.line(f"{name}: {time.perf_counter() - started:.1f} s")

    def line(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(text, markup=False)
