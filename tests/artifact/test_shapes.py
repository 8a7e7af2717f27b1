"""The shapes that are inferred before a graph runs are those that a runtime computes."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vaexprs.artifact import load_artifact
from vaexprs.artifact.onnx.operators import CELLS, OPERATORS
from vaexprs.artifact.onnx.reader import read_model
from vaexprs.artifact.onnx.shapes import check_shapes
from vaexprs.errors import ArtifactError

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

WIDTH = 6


RNG = np.random.default_rng(0)
#: Constants that the cases below may name.
CONSTANTS: dict[str, np.ndarray] = {
    "row": RNG.normal(size=(1, WIDTH)).astype(np.float32),
    "vector": RNG.normal(size=WIDTH).astype(np.float32),
    "column": RNG.normal(size=(7, 1)).astype(np.float32),
    "scalar": np.float32(2.0),
    "W": RNG.normal(size=(WIDTH, 5)).astype(np.float32),
    "WT": RNG.normal(size=(5, WIDTH)).astype(np.float32),
    "square": RNG.normal(size=(WIDTH, WIDTH)).astype(np.float32),
    "b": RNG.normal(size=5).astype(np.float32),
    "int8": RNG.integers(-9, 9, (WIDTH, 5)).astype(np.int8),
    "scale": np.float32(0.1),
    "scales": np.full(5, 0.1, np.float32),
    "zero": np.uint8(128),
    "zero8": np.int8(0),
    "zeros8": np.zeros(5, np.int8),
}

# Operator, inputs, attributes, and the shape expected; "z" is (n_cells, 6). For "z8", z as uint8.
GOOD: list[tuple[str, list[str], dict[str, Any], tuple[int, ...]]] = [
    *((op, ["z"], {}, (CELLS, 6)) for op in (
        "Elu", "Erf", "Exp", "Identity", "LeakyRelu", "Log", "Relu", "Selu", "Sigmoid",
        "Softplus", "Tanh", "Softmax",
    )),
    *((op, ["z", other], {}, (CELLS, 6)) for op in ("Add", "Sub", "Mul", "Div")
      for other in ("z", "row", "vector", "scalar")),
    *((op, ["row", "z", "scalar"], {}, (CELLS, 6)) for op in ("Min", "Max")),
    ("Softmax", ["z"], {"axis": 1}, (CELLS, 6)),
    ("Add", ["row", "column"], {}, (7, 6)),
    ("MatMul", ["z", "W"], {}, (CELLS, 5)),
    ("MatMul", ["WT", "W"], {}, (5, 5)),
    ("Gemm", ["z", "W", "b"], {}, (CELLS, 5)),
    ("Gemm", ["z", "WT"], {"transB": 1}, (CELLS, 5)),
    ("Gemm", ["W", "W"], {"transA": 1}, (5, 5)),
    ("Concat", ["z", "z", "z"], {"axis": 1}, (CELLS, 18)),
    ("Concat", ["z", "z"], {"axis": -1}, (CELLS, 12)),
    ("Concat", ["row", "square"], {"axis": 0}, (7, 6)),
    ("LayerNormalization", ["z", "vector"], {}, (CELLS, 6)),
    ("LayerNormalization", ["z", "vector", "vector"], {"axis": 1}, (CELLS, 6)),
    ("QuantizeLinear", ["z", "scale", "zero"], {}, (CELLS, 6)),
    ("DequantizeLinear", ["int8", "scales", "zeros8"], {"axis": 1}, (6, 5)),
    ("DequantizeLinear", ["z8", "scale", "zero"], {}, (CELLS, 6)),
]  # fmt: skip

# Operator, inputs, attributes, and what the refusal says.
MIXES = "works along the axis of cells, and so would mix them"
BAD: list[tuple[str, list[str], dict[str, Any], str]] = [
    ("Softmax", ["z"], {"axis": 0}, MIXES),
    ("Softmax", ["z"], {"axis": -2}, MIXES),
    ("Softmax", ["z"], {"axis": 2}, r"works along axis 2 of the shape \[n_cells, 6\]"),
    ("LayerNormalization", ["z", "vector"], {"axis": 0}, MIXES),
    ("LayerNormalization", ["z"], {}, "lacks its input 1"),
    ("LayerNormalization", ["z", "row"], {}, r"scales \[n_cells, 6\] by \[1, 6\]"),
    ("LayerNormalization", ["z", "vector", "b"], {}, r"scales \[n_cells, 6\] by \[5\]"),
    ("LayerNormalization", ["z", "vector"], {"n": 2}, "has 2 outputs, expected 1"),
    ("Concat", ["z", "z"], {"axis": 0}, MIXES),
    ("Concat", ["z", "row"], {"axis": 1}, "takes shapes that do not fit"),
    ("Concat", ["z", "z"], {}, "lacks its inputs or its axis"),
    ("Concat", ["vector", "scalar"], {"axis": 0}, "takes shapes that do not fit"),
    ("Concat", ["z", "vector"], {"axis": 1}, "takes shapes that do not fit"),
    ("MatMul", ["z", "z"], {}, r"second matrix that does not depend on the cells"),
    ("MatMul", ["W", "z"], {}, r"takes \[6, 5\] and \[n_cells, 6\]"),
    ("MatMul", ["z", "WT"], {}, r"takes \[n_cells, 6\] and \[5, 6\], expected \(rows, k\)"),
    ("MatMul", ["z", "vector"], {}, "expected .rows, k. and .k, columns."),
    ("Gemm", ["z", "W"], {"transA": 1}, "expected .rows, k."),
    ("Gemm", ["z", "W"], {"transB": 2}, "the attribute 'transB' of 2, expected 0 or 1"),
    ("Gemm", ["z", "z"], {"transB": 1}, "does not depend on the cells"),
    ("Gemm", ["row", "W", "column"], {}, "adds .* to a product of shape"),
    ("Add", ["z", "column"], {}, r"do not fit: \[n_cells, 6\] and \[7, 1\]"),
    ("Add", ["z", "W"], {}, r"do not fit"),
    ("QuantizeLinear", ["z", "z"], {}, r"scales \[n_cells, 6\] by \[n_cells, 6\]"),
    ("QuantizeLinear", ["z", "scales"], {}, r"scales \[n_cells, 6\] by \[5\]"),
    ("QuantizeLinear", ["z", "scales"], {"axis": 0}, MIXES),
    ("DequantizeLinear", ["int8", "scales", "zero8"], {}, r"a scale of shape \[5\] and a zero of"),
    ("Exp", [], {}, "lacks its input 0"),
    ("Max", [], {}, "lacks its input 0"),
    ("Add", ["z"], {}, "lacks its input 1"),
    ("Softmax", ["z"], {"axis": 1.0}, "the attribute 'axis' of kind 'f', which is not its"),
    ("Mul", ["z", "z"], {"alpha": 1.0}, "the attribute 'alpha' of kind 'f', which is not its"),
    ("Mul", ["z", "z", "z"], {}, "has 3 inputs, more than it takes"),
    ("Exp", ["z", "z"], {}, "has 2 inputs, more than it takes"),
    ("Max", ["z"] * 65, {}, "has 65 inputs, more than it takes"),
    ("Exp", ["z"], {"n": 2}, "has 2 outputs, expected 1"),
    ("Exp", ["z"], {"n": 0}, "has 0 outputs, expected 1"),
]  # fmt: skip


def graph_of(nodes: list[Any], constants: dict[str, np.ndarray], version: int = 17) -> Any:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n_cells", WIDTH])],
        [],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    opset = helper.make_opsetid("", version)
    return helper.make_model(graph, opset_imports=[opset], ir_version=9)


def build(case: tuple[Any, ...]) -> Any:
    op_type, inputs, attributes = case[0], case[1], dict(case[2])
    outputs = [f"y{i}" for i in range(attributes.pop("n", 1))]
    nodes = [helper.make_node(op_type, inputs, outputs, name="it", **attributes)]
    if "z8" in inputs:
        nodes.insert(0, helper.make_node("QuantizeLinear", ["z", "scale", "zero"], ["z8"]))
    names = {name for node in nodes for name in node.input} & CONSTANTS.keys()
    return graph_of(nodes, {name: CONSTANTS[name] for name in sorted(names)})


@pytest.fixture(scope="module")
def spec(tiny_builder: ModuleType) -> Any:
    data = tiny_builder.tiny_model(likelihood="gaussian", keys=None, n_latent=WIDTH)
    return load_artifact(data.SerializeToString()).spec


def shapes_of(model: Any, spec: Any) -> dict[str, tuple[int, ...]]:
    return check_shapes(read_model(model.SerializeToString()).graph, spec)


def run(model: Any, names: list[str], z: np.ndarray) -> list[np.ndarray]:
    """Run a graph whose outputs are not declared yet."""
    ort = pytest.importorskip("onnxruntime")
    model = onnx.shape_inference.infer_shapes(model)
    types = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    model.graph.output.extend(helper.make_tensor_value_info(n, types[n], None) for n in names)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options)
    return session.run(names, {"z": z} if session.get_inputs() else {})


def outputs_of(model: Any, z: np.ndarray) -> list[np.ndarray]:
    return run(model, [n for node in model.graph.node if node.name == "it" for n in node.output], z)


def label(case: tuple[Any, ...]) -> str:
    return f"{case[0]}({', '.join(case[1])})" + "".join(f" {k}" for k in case[2])


@pytest.mark.parametrize("case", GOOD, ids=label)
def test_shapes_are_those_of_the_runtime(case: Any, spec: Any) -> None:
    model = build(case)
    shapes = shapes_of(model, spec)
    assert shapes["y0"] == case[3]
    for n_cells in (1, 4):
        z = np.random.default_rng(1).uniform(0.1, 2, (n_cells, WIDTH)).astype(np.float32)
        for name, value in zip(model.graph.node[-1].output, outputs_of(model, z), strict=True):
            expected = tuple(n_cells if length == CELLS else length for length in shapes[name])
            assert value.shape == expected


@pytest.mark.parametrize("case", GOOD, ids=label)
def test_cells_do_not_see_each_other(case: Any, spec: Any) -> None:
    """A row alone gives what it gives among others, for every operator that is let through."""
    model = build(case)
    shapes = shapes_of(model, spec)
    z = np.random.default_rng(2).uniform(0.1, 2, (5, WIDTH)).astype(np.float32)
    together = outputs_of(model, z)
    for row in range(5):
        alone = outputs_of(model, z[row : row + 1])
        for name, a, b in zip(model.graph.node[-1].output, alone, together, strict=True):
            if CELLS in shapes[name]:
                b = b[row : row + 1]
            np.testing.assert_allclose(a.astype(float), b.astype(float), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", BAD, ids=label)
def test_what_is_refused(case: Any, spec: Any) -> None:
    message = rf"^graph.node '[^']*' \({case[0]}\).*{case[3]}"
    with pytest.raises(ArtifactError, match=message):
        shapes_of(build(case), spec)


def test_every_operator_is_tried() -> None:
    assert {case[0] for case in GOOD} == OPERATORS


# Random graphs: what is let through is as inferred, and keeps cells apart.

STRUCTURAL = [
    "Add", "Concat", "Gemm", "LayerNormalization", "MatMul", "Max", "QuantizeLinear", "Softmax",
    "Tanh",
]  # fmt: skip
N_INPUTS = {"Gemm": 3, "QuantizeLinear": 3, "Softmax": 1, "Tanh": 1}
ATTRIBUTES = {
    **dict.fromkeys(("Concat", "LayerNormalization", "Softmax"), ("axis",)),
    "Gemm": ("transA", "transB"),
}
FLOATS = sorted(name for name, value in CONSTANTS.items() if value.dtype == np.float32)


@st.composite
def steps(draw: st.DrawFn) -> tuple[str, list[tuple[str, int]], dict[str, Any]]:
    """Draw an operator, its inputs (a constant, or how many results ago), its attributes."""
    op_type = draw(st.sampled_from(STRUCTURAL))
    inputs = [("", draw(st.integers(1, 2)))]
    for _ in range(N_INPUTS.get(op_type, 2) - 1):
        inputs.append((draw(st.sampled_from([*FLOATS, "zero", ""])), draw(st.integers(1, 3))))
    names = ATTRIBUTES.get(op_type, ())
    return op_type, inputs, {name: draw(st.integers(-2, 2)) for name in names}


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.lists(steps(), min_size=1, max_size=6))
def test_random_graphs(spec: Any, plan: list[Any]) -> None:
    z = np.random.default_rng(3).uniform(0.1, 2, (5, WIDTH)).astype(np.float32)
    nodes: list[Any] = []
    values = ["z"]
    for op_type, inputs, attributes in plan:
        names = [constant or values[-min(ago, len(values))] for constant, ago in inputs]
        output = f"y{len(nodes)}"
        node = helper.make_node(op_type, names, [output], name=output, **attributes)
        used = {n: CONSTANTS[n] for node in [*nodes, node] for n in node.input if n in CONSTANTS}
        model = graph_of([*nodes, node], used)
        try:
            shape = shapes_of(model, spec)[output]
        except ArtifactError:
            continue
        try:
            together, alone = run(model, [output], z)[0], run(model, [output], z[2:3])[0]
        except Exception:
            continue  # the runtime refuses more: types that do not fit, indices out of range
        assert together.shape == tuple(5 if length == CELLS else length for length in shape)
        assert alone.shape == tuple(1 if length == CELLS else length for length in shape)
        row = together[2:3] if CELLS in shape else together
        np.testing.assert_allclose(row.astype(float), alone.astype(float), rtol=1e-3, atol=1e-4)
        nodes.append(node)
        values.append(output)


# What a small file may not ask for.


def test_an_outer_product_of_constants(spec: Any) -> None:
    """Two vectors of 10,000 ask for 400 MB; the file has 80 kB."""
    constants = {"a": np.ones((10_000, 1), np.float32), "b": np.ones((1, 10_000), np.float32)}
    for op_type in ("MatMul", "Add"):
        model = graph_of([helper.make_node(op_type, ["a", "b"], ["y"])], constants)
        with pytest.raises(ArtifactError, match=r"\[10000, 10000\], which brings the graph above"):
            shapes_of(model, spec)


def test_doubling(spec: Any) -> None:
    """Forty nodes that double their input ask for a million million values."""
    nodes = [helper.make_node("Concat", ["z", "z"], ["y0"], axis=1)]
    for i in range(40):
        nodes.append(helper.make_node("Concat", [f"y{i}"] * 2, [f"y{i + 1}"], axis=1))
    with pytest.raises(ArtifactError, match="values that it may compute for each cell"):
        shapes_of(graph_of(nodes, {}), spec)


def test_many_large_results(spec: Any) -> None:
    nodes = [helper.make_node("Identity", ["w"], [f"y{i}"]) for i in range(1000)]
    model = graph_of(nodes, {"w": np.ones((100, 100), np.float32)})
    with pytest.raises(ArtifactError, match="for all cells"):
        shapes_of(model, spec)


def test_multiplying_without_end(spec: Any) -> None:
    """Small matrices multiplied again and again: little memory, much time."""
    nodes = [helper.make_node("MatMul", ["w", "w"], ["y0"])]
    for i in range(1500):
        nodes.append(helper.make_node("MatMul", [f"y{i}", "w"], [f"y{i + 1}"]))
    model = graph_of(nodes, {"w": np.ones((12, 12), np.float32)})
    with pytest.raises(ArtifactError, match=r"out of proportion to the weights"):
        shapes_of(model, spec)


def test_a_deep_and_wide_decoder_passes(tiny_builder: ModuleType) -> None:
    """Twenty hidden layers of 2,048 units before 3,000 genes: large, and in proportion."""
    model = tiny_builder.tiny_model(n_genes=3000)
    hidden = np.zeros((2048, 2048), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(hidden[:4], "first"))
    model.graph.initializer.append(numpy_helper.from_array(hidden, "hidden"))
    model.graph.initializer.append(numpy_helper.from_array(hidden[:, :4].copy(), "last"))
    nodes = [helper.make_node("MatMul", ["z", "first"], ["h0"])]
    for i in range(20):
        # Weights of its own for each layer would be 340 MB, and change nothing here.
        nodes.append(helper.make_node("Add", [f"h{i}", f"h{i}"], [f"a{i}"]))
        nodes.append(helper.make_node("Relu", [f"a{i}"], [f"h{i + 1}"]))
    nodes.append(helper.make_node("MatMul", ["h20", "hidden"], ["h"]))
    nodes.append(helper.make_node("MatMul", ["h", "last"], ["zz"]))
    model.graph.node[0].input[0] = "zz"
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes + rest)
    assert load_artifact(model.SerializeToString()).spec.n_genes == 3000
