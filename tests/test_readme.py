"""The Python and the commands of README.md run, as its readers would run them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [page for page in ("README.md", "docs/package.md") if (ROOT / page).exists()]


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def commands(page: str) -> list[str]:
    shown = [line[2:] for block in blocks(page, "console") for line in block.splitlines()
             if line.startswith("$ ")]  # fmt: skip
    shown += [line for block in blocks(page, "bash") for line in block.splitlines()]
    return [line for line in shown if line.startswith("vaexprs ")]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one(page: str) -> None:
    import typer

    from vaexprs.cli.app import app

    group = typer.main.get_command(app)
    assert len(commands(page)) >= 5
    for command in commands(page):
        _, name, *arguments = shlex.split(command, comments=True)
        group.commands[name].make_context(name, arguments)  # type: ignore[attr-defined]


def test_every_verb_is_shown() -> None:
    from vaexprs.cli.app import EXAMPLES

    named = {shlex.split(command, comments=True)[1] for command in commands("README.md")}
    assert {command.__name__ for command in EXAMPLES} - {"demo", "models"} <= named


@pytest.mark.skipif("docs/package.md" not in PAGES, reason="the pages are not beside these tests")
def test_the_page_of_the_package_needs_nothing_beside_it() -> None:
    text = (ROOT / "docs" / "package.md").read_text(encoding="utf-8")
    assert re.findall(r"!?\[[^\]]*\]\((?!https)", text) == []


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("torch", "onnx", "matplotlib", "umap"):
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    assert len(blocks("README.md", "python")) >= 1
    for code in blocks("README.md", "python"):
        exec(compile(code, "README.md", "exec"), names)
