"""Artifacts of any size with weights that give realistic cells, made without training.

The decoder is the network of a trained model, ``z, condition -> hidden -> softmax * library``;
gene means are log-normal, so that about 90 % of the counts are zero at 5,000 counts per cell over
20,000 genes; inverse dispersions lie between 0.5 and 10.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from vaexprs.artifact import Artifact, load_artifact
from vaexprs.export.quantization import quantize
from vaexprs.spec import ConditionKey, Conditions, GeneratorSpec, LibraryLaw, Prior, write_metadata

N_LATENT = 10
CELL_TYPES = tuple(f"type_{i}" for i in range(6))


def synthetic_artifact(
    n_genes: int,
    hidden: int,
    *,
    precision: Literal["float32", "int8"] = "float32",
    seed: int = 0,
) -> Artifact:
    """Return an artifact with one hidden layer and a negative binomial likelihood."""
    rng = np.random.default_rng(seed)
    n_types = len(CELL_TYPES)
    # The same share of zeros at every number of genes: counts per gene stay as they are.
    log_library = np.log(5000 * n_genes / 20_000)
    conditions = Conditions(
        (ConditionKey("cell_type", CELL_TYPES),),
        np.arange(n_types, dtype=np.int32)[:, None],
        np.full(n_types, 100),
    )
    means = rng.normal(size=(n_types, N_LATENT + 1)).astype(np.float32)
    means[:, -1] = log_library
    factor = np.diag([0.5] * N_LATENT + [0.3]).astype(np.float32)
    prior = Prior(
        "gaussian_mixture",
        True,
        np.arange(n_types + 1),
        np.ones(n_types),
        means,
        factor[None],
        np.zeros(n_types, dtype=np.int32),
    )

    def same(value: float) -> NDArray[np.float32]:
        return np.full(n_types, value, dtype=np.float32)

    spec = GeneratorSpec(
        likelihood="nb",
        n_latent=N_LATENT,
        var_names=tuple(f"gene_{i}" for i in range(n_genes)),
        conditions=conditions,
        prior=prior,
        library=LibraryLaw("joint", same(50), same(1e6), same(log_library), same(0.3)),
    )
    n_inputs = N_LATENT + n_types
    weights = {
        "hidden_weight": rng.normal(0, 0.3, (n_inputs, hidden)),
        "hidden_bias": np.zeros(hidden),
        "mean_weight": rng.normal(0, 0.5 / np.sqrt(hidden), (hidden, n_genes)),
        "mean_bias": rng.normal(0, 1.8, n_genes),
        "theta": np.exp(rng.uniform(np.log(0.5), np.log(10), (1, n_genes))),
    }
    nodes = [
        helper.make_node("Concat", ["z", "condition"], ["seen"], axis=1),
        helper.make_node("Gemm", ["seen", "hidden_weight", "hidden_bias"], ["before"]),
        helper.make_node("Relu", ["before"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "mean_weight", "mean_bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["share"], axis=1),
        helper.make_node("Mul", ["share", "library"], ["mean"]),
        helper.make_node("Identity", ["theta"], ["inverse_dispersion"]),
    ]

    def value(name: str, rows: str | int, width: int) -> object:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, width])

    graph = helper.make_graph(
        nodes,
        "decoder",
        [value(name, "n_cells", width) for name, width in spec.inputs.items()],
        [value("mean", "n_cells", n_genes), value("inverse_dispersion", 1, n_genes)],
        [
            numpy_helper.from_array(np.ascontiguousarray(array, dtype=np.float32), name)
            for name, array in weights.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, write_metadata(spec))
    if precision == "int8":
        model = quantize(model, spec)
    return load_artifact(model.SerializeToString(deterministic=True))
