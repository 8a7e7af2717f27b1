"""The documentation names what is there: files of the recipes, scripts, pictures, hooks."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(
    not (ROOT / "CONTRIBUTING.md").exists(), reason="the checkout is not beside these tests"
)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_file_of_the_recipes_and_the_map_is_there() -> None:
    page = text("CONTRIBUTING.md")
    named = set(re.findall(r"`((?:python|cpp|tests|models|benchmarks|docs|fuzz)/[\w./-]*)`", page))
    named |= {f"python/vaexprs/{room}" for room in re.findall(r"^\| `(\w+(?:/|\.py))`", page, re.M)
              if not (ROOT / room).exists()}  # fmt: skip
    assert len(named) > 20
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_the_recipes_are_short() -> None:
    recipes = text("CONTRIBUTING.md").partition("## Recipes")[2].partition("## ")[0]
    parts = re.split(r"^\*\*A new ", recipes, flags=re.M)[1:]
    assert [part.split("*")[0] for part in parts] == ["likelihood", "sink", "metric"]
    assert all(len(part.strip().splitlines()) <= 10 for part in parts)


def test_the_map_has_every_room() -> None:
    page = text("CONTRIBUTING.md").partition("## The map")[2].partition("## ")[0]
    package = ROOT / "python" / "vaexprs"
    rooms = {path.name for path in package.iterdir() if (path / "__init__.py").exists()}
    files = {path.name for path in package.glob("*.py")} - {"__init__.py", "__main__.py"}
    for name in {f"{room}/" for room in rooms} | (files - {"_version.py"}):
        assert f"`{name}`" in page, name


@pytest.mark.skipif(not (ROOT / "benchmarks").exists(), reason="benchmarks are not in the sdist")
def test_every_benchmark_is_listed() -> None:
    page = text("benchmarks/README.md")
    listed = set(re.findall(r"^\| `([\w/]+\.py)`", page, re.M))
    assert listed == {
        str(path.relative_to(ROOT / "benchmarks")) for path in (ROOT / "benchmarks").rglob("*.py")
    }


@pytest.mark.skipif(not (ROOT / "benchmarks").exists(), reason="benchmarks are not in the sdist")
def test_every_benchmark_that_a_page_names_is_there() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("benchmarks/**/*.md")]
    text_of_all = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    named = set(re.findall(r"\bbenchmarks/[\w/]+\.\w+", text_of_all))
    modules = re.findall(r"-m (benchmarks(?:\.\w+)+)", text_of_all)
    named |= {f"{module.replace('.', '/')}.py" for module in modules}
    assert len(named) > 5
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_links_and_pictures_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", text(name)):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_hooks_are_the_checks_of_lint() -> None:
    hooks = set(re.findall(r"^ +entry: (.*)$", text(".pre-commit-config.yaml"), re.M))
    assert hooks == {
        "ruff check", "ruff format --check", "clang-format --dry-run --Werror", "codespell", "mypy",
    }  # fmt: skip
    lint = text("tasks.py").partition("def lint(")[2].partition("\ndef ")[0]
    for hook in hooks:
        assert all(f'"{word}"' in lint for word in hook.split()), hook


def test_every_task_is_documented() -> None:
    spec = importlib.util.spec_from_file_location("vaexprs_tasks", ROOT / "tasks.py")
    assert spec is not None
    assert spec.loader is not None
    tasks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tasks)
    for name in re.findall(r"for task in \((.*?)\)", text("tasks.py"))[0].split(", "):
        assert callable(getattr(tasks, name))
        assert f"``python tasks.py {name}" in str(tasks.__doc__), name


def test_security_states_the_tested_bound() -> None:
    limits = text("tests/artifact/test_limits.py")
    (per_byte, fixed) = re.findall(r"PER_BYTE, FIXED = (\d+), (\d+) \* MB", limits)[0]
    for name in ("SECURITY.md", "models/FORMAT.md"):
        page = " ".join(text(name).split())
        assert f"at most {per_byte} times the size of its file and {fixed} MiB" in page
