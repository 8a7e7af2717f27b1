"""Artifacts of every format that was ever released load and decode as they did then.

These files stay as they are. If a test here fails, artifacts that people have are broken.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from vaexprs.artifact import load_artifact
from vaexprs.spec import OUTPUTS, read_metadata, write_metadata

GOLDEN = Path(__file__).resolve().parent / "golden"
FILES = sorted(GOLDEN.glob("*.onnx"))


@pytest.fixture(scope="module")
def make() -> ModuleType:
    pytest.importorskip("onnxruntime")
    source = importlib.util.spec_from_file_location("vaexprs_golden_make", GOLDEN / "make.py")
    assert source is not None
    assert source.loader is not None
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    return module


def test_there_is_a_file_for_every_likelihood() -> None:
    names = {path.stem for path in FILES}
    assert {f"format-1-{likelihood}" for likelihood in OUTPUTS} <= names
    assert all(path.stat().st_size < 6000 for path in FILES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_file_reads_as_it_did(path: Path, make: ModuleType) -> None:
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    artifact = load_artifact(path)
    assert artifact.sha256 == expected["sha256"]
    assert _as_then(make.described(artifact.spec), expected["spec"]) == expected["spec"]
    # And it can still be written: the metadata mean the same when read again.
    again = read_metadata(write_metadata(artifact.spec))
    assert _as_then(make.described(again), expected["spec"]) == expected["spec"]


def _as_then(spec: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a format may have learned since, which an old file does not hold."""
    assert [name for name in spec if name not in then and spec[name]] == []
    return {name: value for name, value in spec.items() if name in then}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_its_cells_are_drawn_as_they_were(path: Path, make: ModuleType) -> None:
    """Bit by bit: a change here changes the cells that people generated, and needs a CHANGELOG."""
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["drawn"]
    assert make.drawn(load_artifact(path)) == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_file_decodes_as_it_did(path: Path, make: ModuleType) -> None:
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["decoded"]
    decoded = make.decoded(load_artifact(path))
    assert decoded.keys() == expected.keys()
    for name, values in decoded.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_tiny_artifacts_are_the_golden_ones(
    path: Path, make: ModuleType, tiny_artifact, tiny_builder
) -> None:
    """So that a golden file may stand in for a tiny one where onnx is not installed."""
    if tiny_builder is None:
        pytest.skip("needs onnx")
    options = make.GOLDEN[path.stem.removeprefix("format-1-")]
    golden, tiny = load_artifact(path).spec, load_artifact(tiny_artifact(**options)).spec
    assert (golden.inputs, golden.outputs) == (tiny.inputs, tiny.outputs)
    assert golden.var_names == tiny.var_names
    assert make.described(golden.conditions) == make.described(tiny.conditions)
    # The numbers may differ in the last digit, between versions of numpy.
    np.testing.assert_allclose(golden.prior.means, tiny.prior.means, rtol=1e-5)
