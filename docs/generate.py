"""Pages written from the code, so that they cannot differ from it."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

import vaexprs
from vaexprs import errors
from vaexprs.artifact import load_artifact
from vaexprs.artifact.shipped import shipped_artifacts
from vaexprs.cli.app import EXAMPLES, app

PACKAGE = Path(vaexprs.__file__).parent
ERRORS = [name for name in errors.__all__ if name.endswith("Error")]


def write_pages(source: Path) -> None:
    """Write the pages of commands, messages, JavaScript and shipped artifacts."""
    for name, text in (
        ("reference/cli.md", commands()),
        ("reference/messages.md", messages()),
        ("reference/javascript.md", javascript()),
        ("gallery.md", gallery()),
    ):
        (source / name).write_text(text, encoding="utf-8")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def commands() -> str:
    """Return the page of all commands and options, in the words of their own help."""
    examples = {function.__name__: example for function, example in EXAMPLES.items()}
    parts = ["# Command line\n", "The words of `vaexprs COMMAND --help`.\n"]
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        parts += [f"## vaexprs {name}\n", _plain(command.help) + "\n"]
        if name in examples:
            parts.append(f"```bash\n{examples[name]}\n```\n")
        parts.append(table(("option", "value", ""), map(_option, command.params)))
    return "\n".join(parts)


def _option(option: Any) -> tuple[str, str, str]:
    """Return the names, the value and the help of an option."""
    names = ", ".join(f"`{each}`" for each in [*option.opts, *option.secondary_opts])
    kind = f"`{option.metavar}`" if option.metavar else str(option.type.name)
    if option.param_type_name == "argument":
        names, kind = f"`{option.metavar or option.name.upper()}`", "argument"
    elif getattr(option, "is_flag", False):
        kind = ""
    elif choices := getattr(option.type, "choices", None):
        kind = " or ".join(f"`{getattr(each, 'value', each)}`" for each in choices)
    text, default = _plain(getattr(option, "help", None)), option.default
    if isinstance(default, int | float | str) and default not in (False, ""):
        text += f" Default: `{default}`."
    return names, kind, text


def _plain(text: str | None) -> str:
    """Return a help text on one line, with nothing that Markdown would read."""
    return re.sub(r"([|*_<>])", r"\\\1", " ".join(inspect.cleandoc(text or "").split()))


def messages() -> str:
    """Return the page of all error messages, by class; ``{...}`` stands for what came."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for name, text in _raised(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(name, set()).add(text)
    parts = [
        "# Messages\n",
        "The messages of vaexprs's own errors; `{...}` stands for what came. [Errors](errors.md) "
        "says what each kind means and how to go on.\n",
    ]
    for name in filter(found.__contains__, ERRORS):
        parts += [f"## {name}\n", f"[What it means](errors.md#{name.lower()})\n"]
        parts.append("".join(f"- ``{text}``\n" for text in sorted(found[name])))
    return "\n".join(parts)


def _raised(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield class and message of each error that a module makes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            text = " ".join(_text(node.args[0]).split())
            if node.func.id in ERRORS and len(text.replace("{...}", "")) > 10:
                yield node.func.id, text


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_text, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return "{...}"


def javascript() -> str:
    """Return the page of the ES module, in the words of its types."""
    types = (PACKAGE / "web" / "page" / "vaexprs.d.ts").read_text(encoding="utf-8")
    head = "`vaexprs.mjs`, which [`vaexprs web`](../tutorials/browser.md) writes."
    return f"# JavaScript\n\n{head}\n\n```ts\n{types}```\n"


def gallery() -> str:
    """Return the cards of the shipped artifacts, with facts and scores from their metadata."""
    parts = [
        "# Shipped artifacts\n",
        "These come with the package: their names stand wherever a path may. Every figure is in "
        "the file itself (`vaexprs inspect NAME`).\n",
    ]
    for name, path in shipped_artifacts().items():
        spec = load_artifact(name).spec
        n_cells = spec.conditions.n_cells
        facts = [
            ("training cells", f"{n_cells.sum():,}; {n_cells.min():,} in the smallest combination"),
            ("genes", f"{spec.n_genes:,}"),
            ("likelihood", f"`{spec.likelihood}`"),
            *((f"`{key.name}`", ", ".join(key.categories)) for key in spec.conditions.keys),
        ]
        card = path.with_suffix(".md").read_text(encoding="utf-8").partition("\n")[2]
        picture = f"![Cells of {name}, real and generated](pictures/{name}.png)\n"
        parts += [f"## {name}\n", picture, card, table(("", ""), facts)]
        scores = dict(spec.quality or {}).get("scores", {})
        rows = [(_title(key), *map(_number, _values(score))) for key, score in scores.items()]
        if rows:
            head = ("score", "generated", "real cells", "their range from", "to")
            parts.append(table(head, rows))
    return "\n".join(parts)


def _values(score: dict[str, float]) -> list[float | None]:
    return [score.get(name) for name in ("value", "control", "low", "high")]


def _title(key: str) -> str:
    from vaexprs.evaluation.registry import kinds

    name, _, of = key.partition(".")
    titles = {kind.key: kind.title for kind in kinds()}
    return titles.get(name, name) + (f", {of}" if of else "")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
