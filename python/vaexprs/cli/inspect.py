"""``vaexprs inspect``, everything an artifact promises, and ``vaexprs models``, which there are."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaexprs.cli.console import plain, print_json, rows, say, text_of
from vaexprs.cli.options import MODEL, AsJson, complete_model

if TYPE_CHECKING:
    from vaexprs.artifact import Artifact
    from vaexprs.spec import Conditions, GeneratorSpec

#: Rows of the table of combinations; with more, only the largest are shown.
_MAX_ROWS = 60


def models(*, as_json: AsJson = False) -> None:
    """List the shipped artifacts, which other commands take by name."""
    from vaexprs.artifact import load_artifact
    from vaexprs.artifact.shipped import shipped_artifacts

    found = {}
    for name, path in shipped_artifacts().items():
        spec = load_artifact(path).spec
        found[name] = {
            "path": str(path),
            "bytes": path.stat().st_size,
            "n_genes": spec.n_genes,
            "likelihood": spec.likelihood,
            **{f"condition {key.name}": list(key.categories) for key in spec.conditions.keys},
        }
    if as_json:
        print_json(found)
    else:
        for name, facts in found.items():
            say("\n".join([name, *rows(facts, indent="  ")]))


def inspect(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help=MODEL, autocompletion=complete_model)
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Print what MODEL generates, from which data it came, and how good it measured.

    With --json, the whole of the metadata: gene names, combinations and all.
    """
    from vaexprs.artifact import load_artifact

    artifact = load_artifact(model)
    if as_json:
        print_json(_everything(artifact))
        return
    lines = []
    for title, facts in _sections(artifact).items():
        if facts:
            lines += ["", plain(title), *rows(facts, indent="  ")]
    say("\n".join(lines[1:]))


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
    entries = write_metadata(spec).items()
    return {
        "file": _file_facts(artifact),
        "n_genes": spec.n_genes,
        "n_conditions": spec.conditions.n_conditions,
        "inputs": spec.inputs,
        "outputs": list(spec.outputs),
        **{name.removeprefix("vaexprs."): json.loads(value) for name, value in entries},
    }


def _sections(artifact: Artifact) -> dict[str, Mapping[str, Any]]:
    spec = artifact.spec
    return {
        "file": _file_facts(artifact),
        "promise": _promise(spec),
        **_conditions(spec.conditions),
        "architecture": spec.architecture,
        "provenance": spec.provenance,
        "quality": _quality(spec.quality),
    }


def _promise(spec: GeneratorSpec) -> dict[str, Any]:
    prior, library, genes = spec.prior, spec.library, spec.var_names
    components = f", {len(prior.weights):,} components" if len(prior.weights) else ""
    promise: dict[str, Any] = {
        "format version": spec.format_version,
        "likelihood": spec.likelihood,
        "observation": spec.observation,
        "genes": f"{len(genes):,} ({', '.join(genes[:4])}{', ...' if len(genes) > 4 else ''})",
        "inputs": ", ".join(f"{name} (n_cells, {width})" for name, width in spec.inputs.items()),
        "outputs": ", ".join(spec.outputs),
        "latent prior": f"{prior.kind}, {spec.n_latent} dimensions{components}",
        "precision": spec.precision,
    }
    if library is not None:
        promise["library size"] = (
            f"{'joint with z' if library.kind == 'joint' else 'log-normal'}, "
            f"{library.minimum.min():,.0f} to {library.maximum.max():,.0f} counts"
        )
    return promise


def _conditions(conditions: Conditions) -> dict[str, dict[str, Any]]:
    """Return training cells by category, and by combination of two keys or more."""
    sections: dict[str, dict[str, Any]] = {}
    for place, key in enumerate(conditions.keys):
        codes = conditions.combinations[:, place]
        ordered = " (ordered)" if key.ordered else ""
        sections[f"condition {key.name}{ordered}: training cells"] = {
            category: int(conditions.n_cells[codes == code].sum())
            for code, category in enumerate(key.categories)
        }
    if len(conditions.keys) > 1:
        possible = math.prod(len(key.categories) for key in conditions.keys)
        seen = len(conditions.n_cells)
        title = f"combinations: training cells ({seen:,} seen of {possible:,} possible"
        largest = sorted(range(seen), key=lambda row: -conditions.n_cells[row])[:_MAX_ROWS]
        if seen > _MAX_ROWS:
            title += f"; the {_MAX_ROWS} largest"
        sections[title + ")"] = {
            ", ".join(
                key.categories[code]
                for key, code in zip(conditions.keys, conditions.combinations[row], strict=True)
            ): int(conditions.n_cells[row])
            for row in sorted(largest)
        }
    return sections


def _quality(quality: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return attached scores as lines: each value beside its real-vs-real control."""
    if quality is None:
        return {"measured": "no scores are attached"}
    facts = {name: value for name, value in quality.items() if name != "scores"}
    scores = quality.get("scores")
    for name, score in scores.items() if isinstance(scores, dict) else ():
        if isinstance(score, dict):
            facts[name] = (
                f"{text_of(score.get('value'))} (real {text_of(score.get('low'))} to "
                f"{text_of(score.get('high'))}: {text_of(score.get('verdict'))})"
            )
    return facts
