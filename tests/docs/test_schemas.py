"""The JSON schemas of the reference describe what the commands print, and nothing else."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest

jsonschema = pytest.importorskip("jsonschema")
pytest.importorskip("typer")
anndata = pytest.importorskip("anndata")

from vaexprs.cli import main  # noqa: E402 - after the checks for its packages
from vaexprs.cli.app import app  # noqa: E402

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "schemas"


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory, tiny_artifact: Any) -> dict[str, list[Any]]:
    """Run the commands; return the objects that each of them printed."""
    folder = tmp_path_factory.mktemp("json")
    model = tiny_artifact(keys={"cell_type": ["B", "NK"]}, n_genes=560)
    found: dict[str, list[Any]] = {}

    def run(command: str, *arguments: object) -> None:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert main([command, *map(str, arguments), "--json"]) == 0, arguments
        found.setdefault(command, []).append(json.loads(out.getvalue()))

    run("split", "pbmc_small", "--by", "cell_type", "-o", folder)
    run("generate", model, "-n", 40, "-o", folder / "cells.h5ad")
    run("generate", model, "-n", 40, "-o", folder / "mean.h5ad", "--mean", "--runtime", "portable")
    run("generate", model, "-n", 40, "-o", folder / "run.parts", "--shard", "1/1")
    run("merge", folder / "run.parts", "-o", folder / "all.zarr")
    run("inspect", model)
    run("inspect", "pbmc_ifnb")
    run("models")
    run("web", model, "-o", folder / "site")
    pytest.importorskip("matplotlib")
    run("plot", model, "-o", folder / "figure.svg")
    pytest.importorskip("sklearn")
    pytest.importorskip("torch")
    fitted, scores, train = (folder / name for name in ("fit.onnx", "scores.json", "train.h5ad"))
    run("fit", train, "-o", fitted, "--epochs", 2, "--hidden", 8, "--condition-key", "cell_type")
    run("generate", fitted, "-n", 300, "-o", folder / "generated.h5ad")
    from vaexprs import evaluate

    report = evaluate(
        train, folder / "generated.h5ad", real_test=folder / "test.h5ad", embedding="pca",
        condition_keys="cell_type", n_rounds=4, n_trees=5, max_cells=60, n_draws=1,
    )  # fmt: skip
    report.to_json(scores)  # what ``vaexprs evaluate --json`` prints
    found["evaluate"] = [json.loads(scores.read_text(encoding="utf-8"))]
    return found


def test_every_command_with_json_has_a_schema() -> None:
    import typer

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    with_json = {
        name
        for name, command in commands.items()
        if any("--json" in parameter.opts for parameter in command.params)
    }
    assert with_json == {path.stem for path in SCHEMAS.glob("*.json")}


def test_what_is_printed_fits(printed: dict[str, list[Any]]) -> None:
    assert set(printed) >= {"split", "generate", "merge", "inspect", "models"}
    for name, objects in printed.items():
        validator = jsonschema.Draft202012Validator(schema(name))
        validator.check_schema(schema(name))
        for value in objects:
            assert [error.message for error in validator.iter_errors(value)] == []


def test_what_is_not_printed_does_not_fit(printed: dict[str, list[Any]]) -> None:
    for name, objects in printed.items():
        validator = jsonschema.Draft202012Validator(schema(name))
        value = objects[0]
        for key in schema(name).get("required", []):
            less = {kept: value[kept] for kept in value if kept != key}
            assert not validator.is_valid(less), (name, key)
        more = copy.deepcopy(value)
        more["new.verdict"] = "fine"
        if name != "models":
            assert not validator.is_valid(more), name
