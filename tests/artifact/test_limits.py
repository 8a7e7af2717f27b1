"""Small files cannot ask for much memory: loaded and served, or refused, within a stated bound."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
resource = pytest.importorskip("resource")
from onnx import helper, numpy_helper  # noqa: E402

MB = 2**20
#: What FORMAT.md section 5 promises above the libraries: a multiple of the file, and a fixed part.
PER_BYTE, FIXED = 16, 256 * MB

#: Runs under a limit of address space: what the libraries take, and what FORMAT.md promises.
SCRIPT = """
import resource, sys
from vaexprs import ArtifactError, Generator
warm = Generator(sys.argv[1], n_threads=1)
for block in warm.blocks(n_cells=10):
    pass
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    generator = Generator(sys.argv[2], n_threads=1)
    for block in generator.blocks(n_cells=300):
        pass
    outcome = "served"
except ArtifactError as error:
    outcome = f"refused: {error}"
# The peak of this process; that of getrusage counts its parent, too.
status = open("/proc/self/status").read()
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
print(outcome[:300])
"""


def text_bomb(value: str) -> Any:
    def change(tiny: ModuleType) -> bytes:
        model = tiny.tiny_model()
        entry = next(e for e in model.metadata_props if e.key == "vaexprs.provenance")
        entry.value = value
        return model.SerializeToString()

    return change


def million_genes(tiny: ModuleType) -> bytes:
    return tiny.tiny_model(n_genes=1_000_000, n_latent=1, keys=None).SerializeToString()


def many_categories(tiny: ModuleType) -> bytes:
    model = tiny.tiny_model(n_genes=1)
    conditions = {
        "keys": [{"name": "k", "categories": [f"c{i}" for i in range(100_000)], "ordered": False}],
        "combinations": [[0], [1], [2]],
        "n_cells": [5, 5, 5],
    }
    next(e for e in model.metadata_props if e.key == "vaexprs.conditions").value = json.dumps(
        conditions
    )
    graph = model.graph
    for value in graph.input:
        if value.name == "condition":
            value.type.tensor_type.shape.dim[1].dim_value = 100_000
    wide = np.zeros((100_000, 1), np.float32)
    for tensor in graph.initializer:
        if tensor.name == "condition.weight":
            tensor.CopyFrom(numpy_helper.from_array(wide, "condition.weight"))
    return model.SerializeToString()


def nodes_over_them(n_nodes: int) -> Any:
    """Return a graph with many results of the width of the condition, all kept to the end."""

    def change(tiny: ModuleType) -> bytes:
        model = onnx.ModelProto.FromString(many_categories(tiny))
        names = [f"w{i}" for i in range(n_nodes)]
        nodes = [helper.make_node("Exp", ["condition"], [name]) for name in names]
        total = "condition"
        for i, name in enumerate(reversed(names)):
            nodes.append(helper.make_node("Min", [total, name], [f"t{i}"]))
            total = f"t{i}"
        old = list(model.graph.node)
        for node in old:
            node.input[:] = [total if name == "condition" else name for name in node.input]
        del model.graph.node[:]
        model.graph.node.extend([*nodes, *old])
        return model.SerializeToString()

    return change


def int8_weights(tiny: ModuleType) -> bytes:
    """Weights of one byte that are unpacked to floats of four."""
    model = tiny.tiny_model(n_genes=2000, n_latent=4)
    weight = np.ones((2000, 2000), np.int8)
    model.graph.initializer.append(numpy_helper.from_array(weight, "packed"))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1e-3), "step"))
    nodes = [helper.make_node("DequantizeLinear", ["packed", "step"], ["unpacked"])]
    for i in range(20):
        nodes.append(helper.make_node("Identity", ["unpacked"], [f"copy{i}"]))
    old = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *old])
    return model.SerializeToString()


def long_names(tiny: ModuleType) -> bytes:
    model = tiny.tiny_model(n_genes=4, keys=None)
    next(e for e in model.metadata_props if e.key == "vaexprs.var_names").value = json.dumps(
        ["\N{GRINNING FACE}" + str(i) * 1_900_000 for i in range(4)], ensure_ascii=False
    )
    return model.SerializeToString()


def many_components(tiny: ModuleType) -> bytes:
    import base64

    model = tiny.tiny_model(n_genes=2, n_latent=1, keys=None, likelihood="gaussian")
    n = 1_000_000
    arrays = {
        "offsets": np.array([0, n]), "weights": np.full(n, 1 / n),
        "means": np.zeros((n, 1), np.float32), "tril": np.ones((1, 1, 1), np.float32),
        "factor": np.zeros(n, np.int32),
    }  # fmt: skip
    prior: dict[str, Any] = {"kind": "gaussian_mixture", "with_log_library": False}
    prior |= {
        name: {
            "dtype": x.dtype.name, "shape": list(x.shape),
            "base64": base64.b64encode(x.tobytes()).decode(),
        }
        for name, x in arrays.items()
    }  # fmt: skip
    next(e for e in model.metadata_props if e.key == "vaexprs.prior").value = json.dumps(prior)
    return model.SerializeToString()


BOMBS = {
    "a million genes": million_genes,
    "a hundred thousand categories": many_categories,
    "thirty nodes over them": nodes_over_them(30),
    "three hundred nodes over them": nodes_over_them(300),
    "weights of eight bits, copied": int8_weights,
    "long names": long_names,
    "a million components": many_components,
    "empty lists": text_bomb('{"a": [' + "[]," * 20_000_000 + "[]]}"),
    "small objects": text_bomb('{"a": [' + '{"":0},' * 9_000_000 + "0]}"),
    "nested lists": text_bomb('{"a": ' + "[" * 900 + "]" * 900 + "}"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_memory_is_in_proportion(name: str, tiny_builder: ModuleType, tmp_path: Path) -> None:
    warm, path = tmp_path / "warm.onnx", tmp_path / "bomb.onnx"
    tiny_builder.tiny_artifact(warm)
    path.write_bytes(BOMBS[name](tiny_builder))
    size = path.stat().st_size
    promised = PER_BYTE * size + FIXED
    command = [sys.executable, "-c", SCRIPT, str(warm), str(path), str(promised)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    peak, outcome = done.stdout.splitlines()
    print(f"{name}: {size / 1e6:.1f} MB file, {peak} MB peak, {outcome[:60]}")
    assert int(peak) < 500
    assert outcome.startswith(("served", "refused"))
