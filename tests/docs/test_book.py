"""The book names what there is, leads everywhere in two steps, and notices a wrong output."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import vaexprs
from vaexprs import errors

DOCS = Path(__file__).resolve().parents[2] / "docs"


def module(name: str) -> ModuleType:
    """Load one of the book's own scripts."""
    spec = importlib.util.spec_from_file_location(f"book_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_every_public_name_is_in_the_reference() -> None:
    text = page("reference/python.md")
    errors_of = text[text.index("## Errors") :]
    for name in set(vaexprs.__all__) - {"__version__"}:
        assert re.search(rf"\b{name}\b", text if not name.endswith("Error") else errors_of), name


def test_every_error_has_a_section_that_says_how_to_go_on() -> None:
    sections = re.findall(
        r"^## (\w+)\n\n(.+?)(?=^## |\Z)", page("reference/errors.md"), re.M | re.S
    )
    assert {name for name in errors.__all__ if name.endswith("Error")} == {n for n, _ in sections}
    assert all(len(text) > 30 for _, text in sections)


def test_every_page_is_one_step_from_the_first() -> None:
    listed = set(re.findall(r"^(\w+/\w+|gallery)$", page("index.md"), re.M))
    written = {
        "gallery",
        "reference/cli",
        "reference/messages",
        "reference/format",
        "reference/javascript",
    }
    there = {
        str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md")
    } - {"index", "package"}  # fmt: skip
    assert listed == there | written


def test_the_generated_pages_hold_every_command_option_and_message() -> None:
    typer = pytest.importorskip("typer")
    from vaexprs.cli.app import app

    generate = module("generate")
    commands = generate.commands()
    for name, command in typer.main.get_command(app).commands.items():
        assert f"## vaexprs {name}\n" in commands
        section = commands.split(f"## vaexprs {name}\n")[1].split("\n## ")[0]
        for option in command.params:
            shown = option.opts if option.param_type_name != "argument" else [option.metavar or ""]
            assert all(each in section for each in shown), (name, option.name)
    messages = generate.messages()
    assert "is being written by another process" in messages
    assert messages.count("\n- ``") > 100


@pytest.mark.parametrize(
    ("old", "new", "shape", "same"),
    [
        ("n_cells 5\n", "n_cells 5\n", False, True),
        ("n_cells 5\n", "n_cells 6\n", False, False),
        ("n_cells 5\n", "n_cells 6\n", True, True),
        ("n_cells 5\n", "cells 5\n", True, False),
        ("seconds  0.5\n", "seconds  12.1\n", False, True),
        ("a\n...\nd\n", "a\nb\nc\nd\n", False, True),
        ("a\n...\nd\n", "a\nb\nc\n", False, False),
        ("sha 0123456789abcdef\n", "sha fedcba9876543210\n", False, True),
        ("", "Traceback\n", True, False),
    ],
)
def test_outputs_are_compared(old: str, new: str, shape: bool, same: bool) -> None:
    assert module("execute").equal(old, new, shape=shape) is same


def test_a_page_is_run_and_a_wrong_output_found(tmp_path: Path) -> None:
    execute = module("execute")
    text = "```python\nprint(6 * 7)\n```\n\n```text\n{}\n```\n\n```bash\nexit 1\n```\n"
    for shown, n_differences in (("42", 0), ("43", 1)):
        (tmp_path / "page.md").write_text(text.format(shown))
        outcome = execute.run_page(tmp_path / "page.md")
        assert (outcome.n_blocks, len(outcome.differences)) == (1, n_differences)
        assert outcome.text == text.format("42")
    (tmp_path / "page.md").write_text("<!-- run -->\n" + text.format("43"))
    assert execute.run_page(tmp_path / "page.md").differences == []
    (tmp_path / "page.md").write_text("<!-- run -->\n```python\nraise ValueError\n```\n")
    assert "ValueError" in execute.run_page(tmp_path / "page.md").differences[0]
