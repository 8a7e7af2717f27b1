"""models/FORMAT.md tells the truth: its example is real and its code runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vaexprs.artifact import load_artifact, model
from vaexprs.artifact.onnx import reader, shapes, wire
from vaexprs.artifact.onnx.operators import OPERATORS
from vaexprs.artifact.onnx.reader import read_model
from vaexprs.artifact.onnx.shapes import check_shapes
from vaexprs.spec import OUTPUTS, metadata

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "artifact" / "golden" / "format-1-nb.onnx"


@pytest.fixture(scope="module")
def text() -> str:
    path = ROOT / "models" / "FORMAT.md"
    if not path.exists():
        pytest.skip("the format is not beside these tests")
    return path.read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_the_code_runs_and_prints_what_is_said(text: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (code,) = blocks(text, "python")
    (tmp_path / "model.onnx").write_bytes(GOLDEN.read_bytes())
    (said,) = re.findall(r"It prints `(.*?)`", text)
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    printed, printed_size = ran.stdout.strip().rsplit(" ", 1)
    expected, expected_size = said.rsplit(" ", 1)
    assert printed == expected
    # NumPy may draw other numbers in another version.
    assert float(printed_size) == pytest.approx(float(expected_size), rel=0.1)


def test_the_example_is_the_file(text: str) -> None:
    golden = read_model(GOLDEN.read_bytes())
    graph, entries = [block for block in blocks(text, "") if block.strip()][:2]
    lines = dict(line.split(maxsplit=1) for line in entries.splitlines())
    assert lines.keys() == golden.metadata.keys()
    for key, shown in lines.items():
        pattern = ".*".join(re.escape(part) for part in shown.split("..."))
        assert re.fullmatch(pattern, golden.metadata[key]), key
    spec = load_artifact(GOLDEN).spec
    shapes = check_shapes(golden.graph, spec)
    nodes = re.findall(r"^(\w+) +([\w., ]+?) +-> (\w+) +\[(.*)\]$", graph, flags=re.MULTILINE)
    assert [(op, inputs.split(", "), [output]) for op, inputs, output, _ in nodes] == [
        (node.op_type, list(node.inputs), list(node.outputs)) for node in golden.graph.nodes
    ]
    for _, _, output, shape in nodes:
        lengths = [-1 if n == "n_cells" else int(n) for n in shape.split(", ")]
        assert tuple(lengths) == shapes[output]
    (size,) = re.findall(r"of three categories; ([\d,]+) bytes", text)
    assert int(size.replace(",", "")) == GOLDEN.stat().st_size
    assert spec.library is not None
    assert np.isclose(spec.library.minimum[0], 423.6, atol=0.05)
    assert spec.library.minimum[:1].tobytes() == bytes.fromhex("bdcfd343")


def test_operators_and_outputs_are_those_of_the_code(text: str) -> None:
    quoted = " ".join(re.findall(r"^> (.*)$", text, flags=re.MULTILINE))
    assert set(quoted.split()) == OPERATORS
    for likelihood, outputs in OUTPUTS.items():
        assert f"| `{likelihood}` | {', '.join(f'`{o}`' for o in outputs)} |" in text


def test_limits_are_those_of_the_code(text: str) -> None:
    plain = " ".join(text.split())
    assert f"more than {metadata.MAX_GENES:,} genes, {metadata.MAX_LATENT:,} latents" in plain
    assert f"{metadata.MAX_CONDITIONS:,} categories, {metadata.MAX_CONDITIONS:,} comb" in plain
    assert f"and {model.MAX_NODES:,} nodes" in plain
    assert f"more than {wire.MAX_FIELDS:,} fields" in plain
    assert f"exceed {reader.MAX_METADATA // 2**20} MiB" in plain
    assert f"more than {metadata.MAX_DEPTH} levels deep" in plain
    assert f"and {shapes.MODEST_WIDTH}, *n* the smaller" in plain
    assert f"of {shapes.MAX_RESULTS} *w* and {shapes.MAX_VALUES:,}, and *p*" in plain
    opsets, irs = model.OPSETS, model.IR_VERSIONS
    assert f"of version {opsets[0]} to {opsets[-1]}" in plain
    assert f"`ir_version` {irs[0]} to {irs[-1]}" in plain
    rows = re.findall(r"^\| (`\w+`.*|others) \| ([\d,]+) \| ([\d,]+) \|$", text, re.MULTILINE)
    said = {
        name: (int(characters.replace(",", "")), int(marks.replace(",", "")))
        for names, characters, marks in rows
        for name in re.findall(r"\w+", names)
    }
    assert said == {**metadata.LIMITS, "others": metadata._SCALAR}
