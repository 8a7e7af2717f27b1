"""``vaexprs inspect``: everything an artifact promises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vaexprs.artifact import Artifact

__all__ = ["inspect"]


def inspect(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Artifact (.onnx), or the name of a shipped one.")
    ],
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print all of it as JSON: the metadata whole, gene names and all."
        ),
    ] = False,
) -> None:
    """Print what MODEL generates, from which data it came, and how good it measured."""
    from vaexprs.artifact import load_artifact

    artifact = load_artifact(model)
    if as_json:
        print(json.dumps(_everything(artifact), ensure_ascii=False, indent=2))
    else:
        _print(artifact)


def _file_facts(artifact: Artifact) -> dict[str, Any]:
    return {
        "path": artifact.path,
        "sha256": artifact.sha256,
        "bytes": len(artifact.model_bytes),
        "opset": artifact.opset,
        "ir_version": artifact.ir_version,
    }


def _everything(artifact: Artifact) -> dict[str, Any]:
    from vaexprs.spec import write_metadata

    spec = artifact.spec
    metadata = {
        name.removeprefix("vaexprs."): json.loads(value)
        for name, value in write_metadata(spec).items()
    }
    return {
        "file": _file_facts(artifact),
        "n_genes": spec.n_genes,
        "n_conditions": spec.conditions.n_conditions,
        "inputs": spec.inputs,
        "outputs": list(spec.outputs),
        **metadata,
    }


def _print(artifact: Artifact) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    spec = artifact.spec
    console = Console(highlight=False, soft_wrap=True)

    def section(title: str, rows: Mapping[str, Any]) -> None:
        if not rows:
            return
        console.print()
        console.print(Text(_plain(title), style="bold"))
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows.items():
            # Text, not markup: names come from the file, and brackets are no styles there.
            table.add_row(Text(f"  {_plain(name)}"), Text(_plain(_text(value))))
        console.print(table)

    section("file", _file_facts(artifact))
    prior, library, conditions = spec.prior, spec.library, spec.conditions
    promise: dict[str, Any] = {
        "format version": spec.format_version,
        "likelihood": spec.likelihood,
        "observation": spec.observation,
        "genes": f"{spec.n_genes} ({_some(spec.var_names)})",
        "inputs": ", ".join(f"{name} (n_cells, {width})" for name, width in spec.inputs.items()),
        "outputs": ", ".join(spec.outputs),
        "latent prior": f"{prior.kind}, {spec.n_latent} dimensions"
        + (f", {len(prior.weights)} components" if prior.kind == "gaussian_mixture" else ""),
        "precision": spec.precision,
    }
    if library is not None:
        promise["library size"] = (
            f"{'joint with z' if library.kind == 'joint' else 'log-normal'}, "
            f"{library.minimum.min():,.0f} to {library.maximum.max():,.0f} counts"
        )
    section("promise", promise)
    for place, key in enumerate(conditions.keys):
        cells = [
            int(conditions.n_cells[conditions.combinations[:, place] == code].sum())
            for code in range(len(key.categories))
        ]
        ordered = " (ordered)" if key.ordered else ""
        section(
            f"condition {key.name}{ordered}: training cells",
            dict(zip(key.categories, cells, strict=True)),
        )
    if len(conditions.keys) > 1:
        possible = int(conditions.sizes.prod())
        section(
            "combinations of conditions",
            {"seen in training": len(conditions.n_cells), "possible": possible},
        )
    section("architecture", dict(spec.architecture))
    section("provenance", dict(spec.provenance))
    section("quality", _quality(spec.quality))


def _quality(quality: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return attached scores as lines: each value beside its real-vs-real control."""
    if quality is None:
        return {"measured": "no scores are attached"}
    rows = {name: value for name, value in quality.items() if name != "scores"}
    scores = quality.get("scores")
    for name, score in scores.items() if isinstance(scores, dict) else ():
        if isinstance(score, dict):
            rows[name] = (
                f"{_text(score.get('value'))} (real {_text(score.get('low'))} to "
                f"{_text(score.get('high'))}: {_text(score.get('verdict'))})"
            )
    return rows


def _plain(text: str) -> str:
    """Replace control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def _text(value: Any) -> str:
    if isinstance(value, dict) and {"units", "activation"} <= value.keys():
        text = f"{value.get('name', 'layer')} {value['units']} {value['activation']}"
    elif isinstance(value, dict):
        text = ", ".join(f"{name}: {_text(part)}" for name, part in value.items())
    elif isinstance(value, list):
        arrow = " -> " if value and isinstance(value[0], dict) else ", "
        text = arrow.join(map(_text, value))
    elif isinstance(value, bool) or value is None:
        text = {True: "yes", False: "no", None: "none"}[value]
    elif isinstance(value, int):
        text = f"{value:,}"
    elif isinstance(value, float):
        text = f"{value:.6g}"
    else:
        text = str(value)
    return text
