"""Small artifacts cannot ask for much memory, however wide they are."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaexprs.spec import ConditionKey, Conditions, Prior, write_metadata

onnx = pytest.importorskip("onnx")
from onnx import helper, numpy_helper  # noqa: E402

#: Generates cells and prints the most memory that the process held, in MB.
SCRIPT = """
import sys
from vaexprs import Generator
generator = Generator(sys.argv[1], n_threads=2)
plan = generator.plan(eval(sys.argv[2]))
for block in generator.blocks(plan, n_cells=300):
    pass
for block in generator.blocks(plan, n_cells=3, first_cell=7):
    pass
# Not ru_maxrss, which a new process takes over from the one that started it.
status = open("/proc/self/status").read().split()
print(int(status[status.index("VmHWM:") + 1]) // 1024)
"""


def peak_memory(path: Path, request: Any) -> int:
    command = [sys.executable, "-c", SCRIPT, str(path), repr(request)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


def key(name: str, n_categories: int) -> ConditionKey:
    return ConditionKey(name, tuple(f"{name}{i}" for i in range(n_categories)))


def save(tiny: Any, path: Path, conditions: Conditions, graph: Any = None) -> Path:
    """Write an artifact of one gene with other conditions."""
    rng = np.random.default_rng(0)
    spec = tiny._spec(rng, "gaussian", 1, {}, 2, "standard_normal", "draw", 1.0, None)
    spec = dataclasses.replace(spec, conditions=conditions, prior=Prior())
    model = helper.make_model(
        graph(tiny, rng, spec) if graph else tiny._graph(rng, spec),
        opset_imports=[helper.make_opsetid("", tiny.OPSET)],
        ir_version=tiny.IR_VERSION,
    )
    helper.set_model_props(model, write_metadata(spec))
    path.write_bytes(model.SerializeToString())
    return path


def many_nodes(tiny: Any, rng: Any, spec: Any) -> Any:
    """Return a graph that computes many results of the width of the condition, all needed last."""
    graph = tiny._graph(rng, spec)
    names = [f"wide{i}" for i in range(30)]
    wide = [helper.make_node("Mul", ["condition", f"by{name}"], [name]) for name in names]
    for i, name in enumerate(names):
        graph.initializer.append(numpy_helper.from_array(np.full(1, i, np.float32), f"by{name}"))
    total, sums = names[-1], []
    for i, name in enumerate(reversed(names[:-1])):
        sums.append(helper.make_node("Add", [total, name], [f"sum{i}"]))
        total = f"sum{i}"
    nodes = [*wide, *sums, *graph.node]
    for node in graph.node:
        node.input[:] = [total if name == "condition" else name for name in node.input]
    del graph.node[:]
    graph.node.extend(nodes)
    return graph


ONE = np.ones(1, np.int64)


@pytest.mark.parametrize("graph", [None, many_nodes])
def test_a_hundred_thousand_categories(tiny_builder: Any, tmp_path: Path, graph: Any) -> None:
    conditions = Conditions((key("a", 100_000),), np.zeros((1, 1), np.int32), ONE)
    path = save(tiny_builder, tmp_path / "wide.onnx", conditions, graph)
    assert path.stat().st_size < 2e6
    assert peak_memory(path, {"a": "a0"}) < 500
    assert peak_memory(path, {"a": "a7"}) < 500


def test_unseen_combinations_of_many_categories(tiny_builder: Any, tmp_path: Path) -> None:
    seen = np.array([[i, 0] for i in range(30_000)] + [[0, 1]], np.int32)
    keys = (key("a", 30_000), key("b", 2))
    conditions = Conditions(keys, seen, np.full(len(seen), 2))
    path = save(tiny_builder, tmp_path / "many.onnx", conditions)
    assert peak_memory(path, {"a": "a5", "b": "b1"}) < 500
    assert peak_memory(path, {"b": "b1", "a": {"a4", "a5", "a6"}}) < 500
