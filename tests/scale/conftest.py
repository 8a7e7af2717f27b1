"""Runs that end in the middle."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vaexprs import write_exprs
from vaexprs.files import partial_of
from vaexprs.sinks.journal import Journal


@pytest.fixture
def kept_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every block have its state in the journal before the next one comes."""
    save = Journal.save

    def save_and_wait(self: Journal, *args: Any) -> None:
        save(self, *args)
        self.wait()

    monkeypatch.setattr(Journal, "due", lambda self, n_cells: True)
    monkeypatch.setattr(Journal, "save", save_and_wait)


class EndedError(Exception):
    """The end of a run in its middle."""


Killed = Callable[..., bool]


@pytest.fixture
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Return a function that makes what a kill leaves after so many blocks.

    It returns whether the run was killed; a shorter one ends as it should.
    """

    def run(source: Any, target: Path, n_cells: int, n_blocks: int, **asked: Any) -> bool:
        aside = tmp_path_factory.mktemp("aside")
        left, folder = n_blocks, None

        def progress(n_cells: int) -> None:
            nonlocal left, folder
            left -= 1
            if left == 0:
                folder = next(target.parent.rglob(".*.partial"))
                shutil.copytree(folder, aside / "partial")
                raise EndedError

        try:
            write_exprs(source, target, n_cells, progress=progress, **asked)
        except EndedError:
            # Whatever the run did on its way out is undone.
            assert folder is not None
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(aside / "partial", folder)
            return True
        finally:
            shutil.rmtree(aside)
        return False

    assert partial_of(Path("a/b")) == Path("a/.b.partial")
    return run
