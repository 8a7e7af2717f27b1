"""The decoder as an ONNX graph, built from NumPy weights node by node.

Nothing is traced and torch is not imported: to write a fixed architecture is faster, and gives the
same bytes every time. `DecoderWeights` is the decoder in numbers; `build_model` writes it with a
`GeneratorSpec` as one self-contained model.

::

    z ──(to its group)┬────────────────────────────┐
                      ├─ hidden layers ── hidden ──┤
    condition ────────┼────────────────────────────┼─ Concat ─ Gemm ─ function ─ mean, ...
                      └─ membership ───────────────┘               │
    library ──(depth: log, for dispersions)────────────────────────┘

``membership`` has one column for each combination of categories with enough training cells: 1 for
cells of that combination and 0 for others, ``relu(condition @ member - (n_keys - 1))``. Other
combinations have zeros there and get the effects of their keys alone.

A model may have hidden groups. The last latents hold the binary digits of a cell's group, and
``softmax(last @ digits')``, which is 0 or 1, is one more condition. The other latents are
without the effect of the group; the graph adds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from vaexprs._version import __version__
from vaexprs.spec import GeneratorSpec, write_metadata
from vaexprs.spec.likelihoods import FOLLOWED, LEAST_CHANGE, Function

#: Opset and file version: the newest that runtimes of the last four years read.
OPSET = 17
IR_VERSION = 8

Array = NDArray[np.float32]

#: Activations that a graph can hold.
ACTIVATIONS = (
    "elu", "gelu", "leaky_relu", "linear", "relu", "selu", "sigmoid", "silu", "softplus", "tanh",
)  # fmt: skip
_OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "elu": ("Elu", {"alpha": 1.0}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "relu": ("Relu", {}),
    "selu": ("Selu", {}),
    "sigmoid": ("Sigmoid", {}),
    "softplus": ("Softplus", {}),
    "tanh": ("Tanh", {}),
}


@dataclass(frozen=True)
class Head:
    """One affine map from features of a cell to its genes."""

    bias: Array  # ``(n_genes,)``
    # For each block of features that the head reads, by name, ``(width, n_genes)``. A head of no
    # blocks is the same for every cell.
    weight: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class DecoderWeights:
    """A decoder in numbers."""

    # Hidden layers: weight ``(n_inputs, units)``, bias ``(units,)``, activation. The first reads z
    # and the condition side by side.
    layers: tuple[tuple[Array, Array, str], ...]
    heads: Mapping[str, Head]  # By name; the table of likelihoods says which, and their functions.
    # Of hidden groups: effects on the latents, ``(n_groups, n_read)``, and the extra latents that
    # hold their numbers, ``(n_groups, n_latent - n_read)``; None for none.
    centres: Array | None = None
    digits: Array | None = None
    ceiling: Array | None = None  # Largest logit of each gene, ``(n_genes,)``; None for none.
    # Categories that make up each combination, 0 or 1, ``(n_conditions, n_combinations)``.
    member: Array | None = None
    # With very many categories: vectors in place of one-hot, ``(n_conditions, width)``.
    embedding: Array | None = None
    # Library size at which heads that read ``depth``, the log library, read 0.
    typical_library: float = 1.0
    # ``(n_genes,)``, ``mean = shift + stretch * function(logits)``; None for none.
    shift: Array | None = None
    stretch: Array | None = None


class _Builder:
    """Collects nodes and weights of a graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, value: Any) -> str:
        array = np.ascontiguousarray(value, dtype=np.float32)
        if not np.isfinite(array).all():
            raise ValueError(f"weight {name!r} holds values that are not finite.")
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(
            helper.make_node(operator, inputs, [output], name=f"{output}.{operator}", **attributes)
        )
        return output

    def activate(self, name: str, x: str, output: str) -> str:
        if name == "linear":
            return x
        if name == "silu":
            return self.node("Mul", [x, self.node("Sigmoid", [x], f"{output}.gate")], output)
        if name == "gelu":
            # x / 2 * (1 + erf(x / sqrt(2))): the operator Gelu came with opset 20
            scaled = self.node(
                "Mul", [x, self.weight(f"{output}.rsqrt2", np.sqrt(0.5))], f"{output}.scaled"
            )
            erf = self.node("Erf", [scaled], f"{output}.erf")
            one = self.weight(f"{output}.one", 1.0)
            gate = self.node("Add", [erf, one], f"{output}.gate")
            half = self.node("Mul", [x, self.weight(f"{output}.half", 0.5)], f"{output}.x_half")
            return self.node("Mul", [half, gate], output)
        operator, attributes = _OPERATORS[name]
        return self.node(operator, [x], output, **attributes)

    def concat(self, parts: list[str], output: str) -> str:
        return parts[0] if len(parts) == 1 else self.node("Concat", parts, output, axis=1)


def build_model(weights: DecoderWeights, spec: GeneratorSpec) -> onnx.ModelProto:
    """Return the artifact: the graph of a decoder with its spec as metadata."""
    builder = _Builder()
    features = _features(builder, weights, spec)
    heads = {}
    for name, head in sorted(weights.heads.items(), key=lambda each: _follows(*each)):
        if name == "logits" and weights.ceiling is not None:
            head = replace(head, bias=np.zeros_like(head.bias))
        heads[name] = _head(builder, name, head, features)
        if name == "logits":
            features[FOLLOWED] = heads[name]
    _outputs(builder, weights, spec, heads)

    def value(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    rows: dict[str, int | str] = {
        name: "n_cells" if name == "mean" or weights.heads[output.head].weight else 1
        for name, output in spec.law.outputs.items()
    }
    graph = helper.make_graph(
        builder.nodes,
        "decoder",
        [value(name, ["n_cells", width]) for name, width in spec.inputs.items()],
        [value(name, [rows[name], spec.n_genes]) for name in spec.outputs],
        builder.weights,
    )
    model = helper.make_model(
        graph,
        producer_name="vaexprs",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, write_metadata(spec))
    return model


def _follows(name: str, head: Head) -> tuple[bool, str]:
    """Return what sorts heads: those that follow the logits come after them."""
    return FOLLOWED in head.weight, name


def _features(builder: _Builder, weights: DecoderWeights, spec: GeneratorSpec) -> dict[str, str]:
    """Write the blocks of features that heads use, and return their names in the graph."""
    used = {block for head in weights.heads.values() for block in head.weight}
    features = {"z": "z"}
    told = ["condition"] if spec.conditions.keys else []
    if weights.centres is not None and weights.digits is not None:
        n_read = weights.centres.shape[1]
        places = np.eye(spec.n_latent, dtype=np.float32)  # products take columns: exact
        towards = builder.weight("digits", places[:, n_read:] @ weights.digits.T)
        logits = builder.node("MatMul", ["z", towards], "group.logits")
        told.append(builder.node("Softmax", [logits], "group", axis=-1))
        centres = builder.weight("centres", weights.centres)
        centre = builder.node("MatMul", ["group", centres], "group.centre")
        first = builder.weight("first", places[:, :n_read])
        within = builder.node("MatMul", ["z", first], "z.within")
        features["z"] = builder.node("Add", [within, centre], "z.read")
    if told:
        condition = features["condition"] = builder.concat(told, "condition.told")
        if "embedded" in used:
            assert weights.embedding is not None
            vectors = builder.weight("embedding", weights.embedding)
            features["embedded"] = builder.node("MatMul", [condition, vectors], "embedded")
        if "membership" in used:
            assert weights.member is not None
            member = builder.weight("member", weights.member)
            n_keys = len(spec.conditions.keys) + (weights.centres is not None)
            all_but_one = np.full(weights.member.shape[1], 1.0 - n_keys)
            offset = builder.weight("member.offset", all_but_one)
            hits = builder.node("Gemm", [condition, member, offset], "member.hits")
            features["membership"] = builder.node("Relu", [hits], "membership")
    if "depth" in used:
        log_library = builder.node("Log", ["library"], "library.log")
        typical = builder.weight("library.typical", np.log(weights.typical_library))
        features["depth"] = builder.node("Sub", [log_library, typical], "depth")
    if weights.layers:
        x = builder.concat(
            [features[name] for name in ("z", "condition") if name in features], "hidden.input"
        )
        for index, (weight, bias, function) in enumerate(weights.layers, start=1):
            name = f"hidden{index}"
            x = builder.node(
                "Gemm",
                [x, builder.weight(f"{name}.weight", weight), builder.weight(f"{name}.bias", bias)],
                f"{name}.affine",
            )
            x = builder.activate(function, x, name)
        features["hidden"] = x
    return features


def _head(builder: _Builder, name: str, head: Head, features: dict[str, str]) -> str:
    blocks = [block for block in head.weight if block != FOLLOWED]
    if blocks:
        x = builder.concat([features[block] for block in blocks], f"{name}.features")
        stacked = np.concatenate([head.weight[block] for block in blocks])
        weight = builder.weight(f"{name}.weight", stacked)
        bias = builder.weight(f"{name}.bias", head.bias)
        x = builder.node("Gemm", [x, weight, bias], f"{name}.affine")
    else:
        x = builder.weight(f"{name}.bias", head.bias.reshape(1, -1))
    if FOLLOWED not in head.weight:
        return x
    # x + max(slope * logits, least), written with operators that every graph has
    slope = builder.weight(f"{name}.slope", -head.weight[FOLLOWED].reshape(1, -1))
    fall = builder.node("Mul", [features[FOLLOWED], slope], f"{name}.fall")
    most = builder.weight(f"{name}.most", -LEAST_CHANGE)
    fall = builder.node("Min", [fall, most], f"{name}.fall.cut")
    return builder.node("Sub", [x, fall], f"{name}.followed")


def _outputs(
    builder: _Builder, weights: DecoderWeights, spec: GeneratorSpec, heads: dict[str, str]
) -> None:
    """Write the outputs in data units: the functions of the heads that the table names."""
    for name, (head, function) in spec.law.outputs.items():
        x = _below_ceiling(builder, weights, heads[head]) if head == "logits" else heads[head]
        if name == "mean" and weights.shift is not None and weights.stretch is not None:
            x = _apply(builder, function, x, "scaled")
            stretch = builder.weight("stretch", weights.stretch.reshape(1, -1))
            shift = builder.weight("shift", weights.shift.reshape(1, -1))
            builder.node("Add", [builder.node("Mul", [x, stretch], "stretched"), shift], name)
        elif function == "linear":
            builder.node("Identity", [x], name)
        else:
            _apply(builder, function, x, name)


def _below_ceiling(builder: _Builder, weights: DecoderWeights, logits: str) -> str:
    if weights.ceiling is None:
        return logits
    # min(x + bias, ceiling), with the bias last: a runtime that knows softmax takes it along
    bias = weights.heads["logits"].bias
    ceiling = builder.weight("ceiling", (weights.ceiling - bias).reshape(1, -1))
    cut = builder.node("Min", [logits, ceiling], "logits.cut")
    level = builder.weight("logits.level", bias.reshape(1, -1))
    return builder.node("Add", [cut, level], "logits")


def _apply(builder: _Builder, function: Function, x: str, output: str) -> str:
    if function == "linear":
        return x
    if function == "softmax":
        share = builder.node("Softmax", [x], "share", axis=-1)
        return builder.node("Mul", [share, "library"], output)
    return builder.node({"exp": "Exp", "sigmoid": "Sigmoid"}[function], [x], output)
