"""Mutants of artifacts: what loads must generate cells that keep the artifact's promises."""

from __future__ import annotations

import functools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from fuzz import values
from vaexprs import _core
from vaexprs.artifact import load_artifact
from vaexprs.artifact.onnx.operators import OPERATORS
from vaexprs.errors import VaexprsError
from vaexprs.generation.generator import Generator

GOLDEN = Path(__file__).parents[1] / "tests" / "artifact" / "golden"
onnxruntime.set_default_logger_severity(4)
#: In float32 a weight of this size leaves no more than three digits of what is added to it.
WIPES_OUT = 1e4
NUMBERS = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    1e-45,
    1e-38,
    3e38,
    -3e38,
    88.0,
    89.0,
    1e9,
    np.nan,
    np.inf,
    -np.inf,
)


@functools.cache
def bases() -> list[bytes]:
    """Return small artifacts of every likelihood."""
    return [path.read_bytes() for path in sorted(GOLDEN.glob("*.onnx"))]


def mutant(seed: int, index: int) -> bytes:
    """Return mutant `index` of a seed."""
    rng = random.Random(f"{seed} {index}")
    data = rng.choice(bases())
    if rng.random() < 0.15:
        return values.damaged(rng, data)
    model = onnx.ModelProto.FromString(data)
    changes = [_weights, _weights, _node, _rewire, _attribute, _metadata, _metadata, _shape, _extra]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(changes)(rng, model)
    data = model.SerializeToString()
    return values.damaged(rng, data) if rng.random() < 0.05 else data


def _weights(rng: random.Random, model: Any) -> None:
    tensor = rng.choice(model.graph.initializer)
    array = np.array(numpy_helper.to_array(tensor))
    if array.dtype != np.float32:
        return
    flat = array.reshape(-1)
    if rng.random() < 0.3:
        with np.errstate(over="ignore", invalid="ignore"):
            flat *= np.float32(rng.choice((0, -1, 1e3, 1e-6, 1e38)))
    elif rng.random() < 0.5:
        flat[rng.randrange(flat.size)] = rng.choice(NUMBERS)
    else:
        flat[:] = rng.choice(NUMBERS)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _node(rng: random.Random, model: Any) -> None:
    rng.choice(model.graph.node).op_type = rng.choice(sorted(OPERATORS))


def _rewire(rng: random.Random, model: Any) -> None:
    node = rng.choice(model.graph.node)
    names = [value.name for value in model.graph.input]
    names += [tensor.name for tensor in model.graph.initializer]
    names += [name for other in model.graph.node for name in other.output]
    if node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)


def _attribute(rng: random.Random, model: Any) -> None:
    node = rng.choice(model.graph.node)
    name = rng.choice(("axis", "alpha", "beta", "transA", "transB", "epsilon", "gamma"))
    number = rng.choice(NUMBERS) if rng.random() < 0.5 else rng.choice((-1, 0, 1, 2, 2**40))
    del node.attribute[:]
    node.attribute.append(helper.make_attribute(name, number))


def _metadata(rng: random.Random, model: Any) -> None:
    entry = rng.choice(model.metadata_props)
    try:
        content = json.loads(entry.value)
    except ValueError:
        return
    entry.value = values.dumped(values.changed(rng, content))


def _shape(rng: random.Random, model: Any) -> None:
    tensor = rng.choice(model.graph.initializer)
    array = numpy_helper.to_array(tensor)
    shapes = ((array.size,), (1, array.size), (array.size, 1), array.shape[::-1])
    tensor.CopyFrom(numpy_helper.from_array(array.reshape(rng.choice(shapes)), tensor.name))


def _extra(rng: random.Random, model: Any) -> None:
    """Put an operator into an edge of the graph."""
    node = rng.choice(model.graph.node)
    if not node.input:
        return
    place = rng.randrange(len(node.input))
    op_type, name = rng.choice(sorted(OPERATORS)), f"extra{rng.random()}"
    inputs = [node.input[place]]
    if op_type in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Concat"):
        inputs.append(rng.choice([node.input[place], "extra.constant"]))
    if not any(tensor.name == "extra.constant" for tensor in model.graph.initializer):
        constant = np.array(rng.choice(NUMBERS[:11]), np.float32)
        model.graph.initializer.append(numpy_helper.from_array(constant, "extra.constant"))
    extra = helper.make_node(op_type, inputs, [name])
    if op_type == "Concat":
        extra.attribute.append(helper.make_attribute("axis", 1))
    nodes = list(model.graph.node)
    nodes.insert(nodes.index(node), extra)
    node.input[place] = name
    kept = [n.SerializeToString() for n in nodes]
    del model.graph.node[:]
    model.graph.node.extend(onnx.NodeProto.FromString(n) for n in kept)


def check(data: bytes) -> None:
    """Load, generate draws and means of some cells, and compare them with the promise."""
    _check_core(data)
    try:
        artifact = load_artifact(data)
        generator = Generator(artifact, n_threads=1)
        spec = artifact.spec
        plans = [generator.plan()]
        if len(spec.conditions.keys) > 1:
            last = {key.name: key.categories[-1] for key in spec.conditions.keys}
            plans.append(generator.plan(last))
        for plan in plans:
            for block in generator.blocks(plan, n_cells=9, seed=3):
                _check_draws(spec, block)
            for block in generator.blocks(plan, n_cells=5, seed=3, return_mean=True):
                _check_means(data, spec, block)
    except VaexprsError:
        return


def _check_core(data: bytes) -> None:
    """Compare the verdict of the core's own reader with that of Python's, and bits of vectors."""
    refused = said = ""
    try:
        spec = load_artifact(data).spec
    except VaexprsError as error:
        refused = str(error)
    try:
        _core.check_artifact(data)
    except ValueError as error:
        said = str(error)
    if refused or said:
        agrees = (refused and said) or "portable decoder does not run" in said
        assert agrees, f"Python: {refused or 'takes it'}; the core: {said or 'takes it'}"
        return
    inputs, outputs = list(spec.inputs.items()), list(spec.outputs)
    sizes = {"n_genes": spec.n_genes, "n_combinations": len(spec.conditions.n_cells)}
    opened = [
        _core.Decoder(data, inputs=inputs, outputs=outputs, instruction_set=name, **sizes)
        for name in ("reference", None)
    ]
    rng = np.random.default_rng(0)
    cells = [rng.normal(0, 2, (5, width)).astype(np.float32) for _, width in inputs]
    for name, a, b in zip(outputs, *(d.decode(cells) for d in opened), strict=True):
        same = (a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))
        assert same.all(), f"{name} has other bits by vectors than by single numbers"


def _check_draws(spec: Any, block: Any) -> None:
    X = block.X
    assert X.indptr[0] == 0
    assert X.indptr[-1] == len(X.data) == len(X.indices)
    assert (np.diff(X.indptr) >= 0).all()
    assert ((X.indices >= 0) & (X.indices < spec.n_genes)).all()
    assert np.isfinite(X.data).all(), "a draw is not finite"
    assert np.isfinite(block.z).all(), "z is not finite"
    if spec.value_law.support != "real":
        assert (X.data >= 0).all(), "a draw is negative"
    if spec.is_counts or spec.observation == "rounded":
        assert (X.data == np.rint(X.data)).all(), "a count is no whole number"
    if spec.likelihood == "bernoulli" and spec.observation == "draw":
        assert np.isin(X.data, (0, 1)).all(), "a draw is neither 0 nor 1"


def _check_means(data: bytes, spec: Any, block: Any) -> None:
    assert np.isfinite(block.X).all(), "a mean is not finite"
    weights = map(numpy_helper.to_array, onnx.load_from_string(data).graph.initializer)
    if any(np.abs(array.astype(np.float64)).max(initial=0.0) > WIPES_OUT for array in weights):
        return  # the order of additions decides the result, and a reader may choose it
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    inputs = {"z": block.z}
    if spec.conditions.keys:
        starts = np.concatenate([[0], np.cumsum(spec.conditions.sizes)[:-1]])
        inputs["condition"] = np.zeros((block.n_cells, spec.conditions.n_conditions), np.float32)
        np.put_along_axis(inputs["condition"], block.codes + starts, 1.0, axis=1)
    if block.library is not None:
        inputs["library"] = block.library[:, None]
    names = list(spec.outputs)
    outputs = dict(zip(names, session.run(names, inputs), strict=True))
    with np.errstate(all="ignore"):
        expected = spec.value_law.expected(spec.parameters(outputs))
    close = np.isclose(expected, block.X, rtol=1e-3, atol=1e-5 + 1e-6 * np.abs(expected).max())
    assert close.all(), "means differ from those of the runtime on the original bytes"
