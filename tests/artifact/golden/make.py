"""Make the golden files of a format, once: ``python tests/artifact/golden/make.py``.

The files of a released format are never made anew, since they stand for artifacts that people
have: what exists is left alone. A new format gets files of its own beside them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from vaexprs.artifact import Artifact, load_artifact
from vaexprs.generation.request import make_plan
from vaexprs.spec import FORMAT_VERSION, OUTPUTS
from vaexprs.spec.inputs import Inputs

HERE = Path(__file__).resolve().parent

#: Name of a file and the options of `tiny_artifact` that made it.
GOLDEN: dict[str, dict[str, Any]] = {
    **{likelihood: {"likelihood": likelihood} for likelihood in OUTPUTS},
    "two-keys": {
        "likelihood": "zinb",
        "keys": {"Zelltyp": ["β", "α", "δ"], "batch": ["1", "2"]},
        "quality": {"real_vs_generated_auc": 0.66},
    },
    "plain": {
        "likelihood": "bernoulli",
        "keys": None,
        "observation": "mean",
        "prior": "standard_normal",
    },
    "residual": {"likelihood": "bernoulli", "observation": "rectified"},
    "lognormal-library": {"likelihood": "poisson", "prior": "standard_normal"},
}


def described(value: object) -> Any:
    """Return a spec as JSON can hold it: dataclasses as objects, arrays as lists."""
    if is_dataclass(value):
        members = {f.name: described(getattr(value, f.name)) for f in fields(value)}
        if members.get("dtype") == "str":  # labels of text, as when the format had no other
            del members["dtype"]
        return members
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (tuple, list)):
        return [described(item) for item in value]
    if isinstance(value, Mapping):
        return {key: described(item) for key, item in value.items()}
    return value


def decoded(artifact: Artifact) -> dict[str, list[list[float]]]:
    """Return what the graph computes for three cells of fixed inputs."""
    spec = artifact.spec
    rows = np.arange(3)
    inputs = {"z": np.sin(np.arange(3 * spec.n_latent, dtype=np.float32)).reshape(3, -1)}
    if spec.conditions.keys:
        blocks = [np.eye(size)[rows % size] for size in spec.conditions.sizes]
        inputs["condition"] = np.hstack(blocks).astype(np.float32)
    if spec.is_counts:
        inputs["library"] = np.array([[500], [1000], [2000]], dtype=np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(artifact.model_bytes, options)
    outputs = session.run(list(spec.outputs), inputs)
    return {name: o.tolist() for name, o in zip(spec.outputs, outputs, strict=True)}


def drawn(artifact: Artifact) -> dict[str, Any]:
    """Return what the core draws as inputs of a few cells: the same bits on every machine."""
    conditions = artifact.spec.conditions
    plan = make_plan(conditions)
    inputs = Inputs(artifact.spec, plan.combinations, plan.bounds, plan.run_groups, endless=True)
    cells = inputs.draw(seed=1, first_cell=250, n_cells=12)
    return described(cells)


def main() -> None:
    """Make the files that do not exist yet."""
    sys.path.insert(0, str(HERE.parent))
    import tiny

    for name, options in GOLDEN.items():
        path = HERE / f"format-{FORMAT_VERSION}-{name}.onnx"
        if path.exists():
            print(f"{path.name} exists and stays as it is")
            continue
        tiny.tiny_artifact(path, **options)
        artifact = load_artifact(path)
        expected = {
            "sha256": artifact.sha256,
            "spec": described(artifact.spec),
            "decoded": decoded(artifact),
            "drawn": drawn(artifact),
        }
        text = json.dumps(expected, ensure_ascii=False, indent=None, separators=(", ", ": "))
        path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
