"""The graph that the runtime is given means what the artifact's own graph means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest

from vaexprs import Generator, load_artifact
from vaexprs.artifact.lowering import RuntimeGraph, lower

onnx = pytest.importorskip("onnx")
from onnx import helper, numpy_helper  # noqa: E402

N_GENES = 150


@pytest.fixture(scope="module")
def make(tiny_builder: Any) -> Callable[..., Any]:
    return lambda **options: tiny_builder.tiny_model(**{"n_genes": N_GENES, **options})


def edited(model: Any, nodes: list[Any], **weights: np.ndarray) -> Any:
    """Give a model other nodes before the softmax, and more weights."""
    graph = model.graph
    kept = [node for node in graph.node if node.output[0] not in ("from_z", "from_condition")]
    kept = [node for node in kept if node.output[0] != "logits"]
    del graph.node[:]
    graph.node.extend([*nodes, *kept])
    for name, value in weights.items():
        graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    return model


def gemm_with_bias(model: Any) -> Any:
    nodes = [
        helper.make_node("Concat", ["z", "condition"], ["seen"], axis=1),
        helper.make_node("Gemm", ["seen", "w", "bias"], ["logits"], alpha=0.5),
    ]
    return edited(model, nodes, w=np.random.default_rng(1).normal(size=(7, N_GENES)))


def gemm_with_transposed_weights(model: Any) -> Any:
    nodes = [
        helper.make_node("Concat", ["z", "condition"], ["seen"], axis=1),
        helper.make_node("Gemm", ["seen", "w", "bias"], ["logits"], transB=1),
    ]
    return edited(model, nodes, w=np.random.default_rng(1).normal(size=(N_GENES, 7)))


def product_then_bias(model: Any) -> Any:
    nodes = [
        helper.make_node("MatMul", ["z", "z.weight"], ["product"]),
        helper.make_node("Add", ["row", "product"], ["logits"]),
    ]
    return edited(model, nodes, row=np.linspace(80, 95, N_GENES).reshape(1, -1))


def two_terms(model: Any) -> Any:
    return model  # z and condition through products of their own, added up


def product_alone(model: Any) -> Any:
    return edited(model, [helper.make_node("MatMul", ["z", "z.weight"], ["logits"])])


def gemm_that_scales_its_bias(model: Any) -> Any:
    nodes = [helper.make_node("Gemm", ["z", "z.weight", "bias"], ["logits"], beta=0.5)]
    return edited(model, nodes)


#: How a graph may end, and whether a bias can be taken out of it besides the softmax.
ENDINGS = [
    (gemm_with_bias, True),
    (gemm_with_transposed_weights, True),
    (product_then_bias, True),
    (two_terms, False),
    (product_alone, False),
    (gemm_that_scales_its_bias, False),
]


def inputs_of(spec: Any, n_cells: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    inputs = {"z": rng.normal(size=(n_cells, spec.n_latent))}
    if spec.conditions.keys:
        width = spec.conditions.n_conditions
        inputs["condition"] = np.eye(width)[rng.integers(0, width, n_cells)]
    inputs["library"] = rng.uniform(100, 5000, (n_cells, 1))
    return {name: value.astype(np.float32) for name, value in inputs.items()}


@pytest.mark.parametrize("likelihood", ["poisson", "nb", "zinb"])
@pytest.mark.parametrize(("ending", "has_bias"), ENDINGS, ids=lambda x: getattr(x, "__name__", ""))
def test_means_are_those_of_the_plain_graph(
    make: Any, ending: Any, has_bias: bool, likelihood: str
) -> None:
    model = ending(make(likelihood=likelihood))
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    artifact = load_artifact(content)
    graph = lower(artifact)
    assert graph.gives_logits
    assert (graph.bias is not None) == has_bias

    generator = Generator(artifact, n_threads=1)
    tile = generator._decoder.tile
    inputs = inputs_of(artifact.spec, tile)
    parameters = generator._decoder.decode(inputs)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = list(artifact.spec.outputs)
    plain = dict(zip(names, session.run(names, inputs), strict=True))
    for name in names[1:]:
        np.testing.assert_allclose(parameters.arrays[name], plain[name], rtol=1e-6)

    block = next(generator.blocks(n_cells=tile, return_mean=True))
    assert block.library is not None
    asked = {
        "z": block.z,
        "condition": np.eye(3, dtype=np.float32)[block.codes[:, 0]],
        "library": block.library[:, None],
    }
    wanted = dict(zip(names, session.run(names, asked), strict=True))
    if likelihood == "zinb":
        wanted["mean"] = wanted["mean"] / (1 + np.exp(wanted["zero_logits"]))
    # A softmax of float32 over some hundred genes, summed in another order.
    np.testing.assert_allclose(block.X, wanted["mean"], rtol=1e-5)


def exponential(model: Any) -> Any:
    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    softmax.op_type = "Sigmoid"
    del softmax.attribute[:]
    return model


def library_twice(model: Any) -> Any:
    product = next(node for node in model.graph.node if node.output[0] == "mean")
    product.output[0] = "once"
    model.graph.node.append(helper.make_node("Mul", ["once", "library"], ["mean"]))
    return model


def share_read_twice(model: Any) -> Any:
    product = next(node for node in model.graph.node if node.output[0] == "mean")
    product.output[0] = "once"
    model.graph.node.append(helper.make_node("Add", ["once", "share"], ["mean"]))
    return model


def the_same_share_for_all(model: Any) -> Any:
    model.graph.initializer.append(
        numpy_helper.from_array(np.zeros((1, N_GENES), np.float32), "zeros")
    )
    return edited(model, [helper.make_node("Exp", ["zeros"], ["logits"])])


@pytest.mark.parametrize(
    "change", [exponential, library_twice, share_read_twice, the_same_share_for_all]
)
def test_a_graph_that_ends_in_another_way_stays_as_it_is(make: Any, change: Any) -> None:
    artifact = load_artifact(change(make()).SerializeToString())
    graph = lower(artifact)
    assert graph == RuntimeGraph(artifact.model_bytes, graph.n_values)
    block = next(Generator(artifact).blocks(n_cells=70))
    assert block.X.shape == (70, N_GENES)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "zigamma"])
def test_what_is_no_count_stays_as_it_is(make: Any, likelihood: str) -> None:
    artifact = load_artifact(make(likelihood=likelihood).SerializeToString())
    graph = lower(artifact)
    assert graph == RuntimeGraph(artifact.model_bytes, graph.n_values)


def test_the_new_graph_is_a_valid_model_of_standard_operators(make: Any) -> None:
    graph = lower(load_artifact(gemm_with_bias(make()).SerializeToString()))
    model = onnx.load_from_string(graph.model)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Concat", "Gemm", "Exp"]
    assert graph.bias is not None
    assert graph.bias.max() == 0
