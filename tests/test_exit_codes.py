"""Own errors end with 2 and one sentence; all others with 1, a sentence and a log."""

from __future__ import annotations

from pathlib import Path

import pytest

from vaexprs import exprs
from vaexprs.cli import main


@pytest.mark.parametrize("error", [ValueError, OSError, KeyError, AssertionError])
def test_an_internal_error_says_where_its_traceback_is(
    error: type[Exception],
    tiny_artifact: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error("of some\nlibrary")

    monkeypatch.setattr(exprs, "check_target", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    arguments = ["generate", str(tiny_artifact()), "-n", "1", "-o", str(tmp_path / "c.h5ad")]  # type: ignore[operator]
    assert main(arguments) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith(f"vaexprs: an error of vaexprs itself, {error.__name__}: ")
    assert "Traceback" not in told
    (log,) = tmp_path.iterdir()
    assert str(log) in told
    assert "Traceback" in log.read_text()
    assert "generate" in log.read_text()
    assert main([*arguments, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_debug_shows_the_traceback_of_bad_input_too(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["generate", "no such model", "-n", "1", "-o", "cells.h5ad"]
    assert main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["--debug", *arguments]) == 2
    assert "Traceback" in capsys.readouterr().err
