"""Weights of the decoder's last layer as 8-bit integers, and what that does to the means.

At 20,000 genes the product of the last hidden layer with its weights is most of the time of
generation. In integers it takes a third of it, and the file a quarter of the room, for a small
error in the means, which is measured here and stored with the model.

In the graph it is written with standard operators, as quantised models usually are, so that a
runtime either finds its integer kernel in it or computes the same in float32::

    hidden ─ QuantizeLinear ─ DequantizeLinear ─┐
    weight (int8) ─────────── DequantizeLinear ─┴─ MatMul ─┐
    z, condition, ... (float32) ─────────────────── MatMul ─┴─ Add ─ Add bias ─ ...

- Weights have one scale for each gene, activations one for all, fixed here on draws from the
  prior: a scale taken from the cells of a block would make them depend on each other.
- Activations take 7 of the 8 bits. Processors without VNNI add two products of 8 bits into 16,
  where 255 * 127 twice would be clipped, silently; 127 * 127 twice fits.
- What is narrow stays float32: z and conditions weigh much and cost little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from vaexprs.errors import VaexprsError, require
from vaexprs.spec import GeneratorSpec, write_metadata

__all__ = ["NARROW", "quantize"]

Array = NDArray[np.float32]

#: Blocks of fewer features stay in float32.
NARROW = 64
_LEVELS = 127
_CALIBRATION_CELLS, _ERROR_CELLS, _STEP = 1024, 512, 128


def quantize(model: onnx.ModelProto, spec: GeneratorSpec) -> onnx.ModelProto:
    """Quantise the last layers of an artifact's graph, and measure the error of its means.

    Parameters
    ----------
    model
        An artifact in float32, such as `vaexprs.export.graph.build_model` gives.
    spec
        What it promises.

    Returns
    -------
    onnx.ModelProto
        The same artifact with integer weights. Its ``precision`` is ``{"kind": "int8", "error":
        {"rms": ..., "worst_gene": ..., "worst_average": ..., "n_cells": ...}}``; see
        ``models/FORMAT.md``.

    Raises
    ------
    VaexprsError
        If nothing in the graph is wide enough to be quantised.
    """
    heads = _heads(model, spec)
    names = [name for head in heads for name in head.parts]
    features = _concatenate(_computed(model, names, spec, _CALIBRATION_CELLS, seed=0))
    wide = {name for name in names if features[name].shape[1] >= NARROW}
    if not wide:
        raise VaexprsError(
            "precision='int8' is for decoders whose last hidden layer has at least "
            f"{NARROW} units; this one has none so wide, and gains nothing: use 'float32'."
        )
    quantized = onnx.ModelProto()
    quantized.CopyFrom(model)
    _rewrite(quantized.graph, heads, features, wide)
    error = _error(model, quantized, spec)
    precise = replace(spec, precision={"kind": "int8", "error": error})
    helper.set_model_props(quantized, write_metadata(precise))
    return quantized


@dataclass(frozen=True)
class _Head:
    """A ``Gemm`` from features, block by block, to genes."""

    node: str
    output: str
    parts: tuple[str, ...]
    weight: str
    bias: str


def _heads(model: onnx.ModelProto, spec: GeneratorSpec) -> list[_Head]:
    made_by = {name: node for node in model.graph.node for name in node.output}
    dims = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    heads = []
    for node in model.graph.node:
        if node.op_type != "Gemm" or node.attribute or len(node.input) != 3:
            continue
        before = made_by.get(node.input[0])
        if dims.get(node.input[1], [0])[-1] == spec.n_genes:
            parts = (node.input[0],)
            if before is not None and before.op_type == "Concat":
                parts = tuple(before.input)
            heads.append(_Head(node.name, node.output[0], parts, node.input[1], node.input[2]))
    return heads


def _rewrite(
    graph: onnx.GraphProto, heads: list[_Head], features: Mapping[str, Array], wide: set[str]
) -> None:
    weights = {tensor.name: tensor for tensor in graph.initializer}
    by_output = {head.output: head for head in heads if wide & set(head.parts)}
    nodes: list[onnx.NodeProto] = []
    added: dict[str, NDArray[Any]] = {}
    for node in graph.node:
        head = by_output.get(node.output[0])
        if head is None:
            nodes.append(node)
        else:
            weight, bias = (numpy_helper.to_array(weights[w]) for w in (head.weight, head.bias))
            nodes += _integer_nodes(head, weight, bias, features, wide, added)
    used = {name for node in nodes for name in node.input}
    # A Concat that only fed quantised heads is left over.
    outputs = {value.name for value in graph.output}
    nodes = [node for node in nodes if used & set(node.output) or outputs & set(node.output)]
    kept = [tensor for name, tensor in weights.items() if name in used and name not in added]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in added.items())


def _integer_nodes(
    head: _Head,
    weight: Array,
    bias: Array,
    features: Mapping[str, Array],
    wide: set[str],
    added: dict[str, NDArray[Any]],
) -> Iterator[onnx.NodeProto]:
    """Yield what takes the place of a head: a product for each wide block, one for the narrow."""
    name = head.output
    correction = np.zeros(bias.shape)
    stops = np.cumsum([features[part].shape[1] for part in head.parts])
    rows = dict(zip(head.parts, np.split(weight, stops[:-1]), strict=True))
    terms = []
    for part in head.parts:
        if part in wide:
            yield from _dequantized_part(part, features[part], added)
            yield from _dequantized_weight(f"{name}.{part}", rows[part], added)
            rounded = added[f"{name}.{part}.int8"] * added[f"{name}.{part}.scales"]
            # What rounding does to the average cell goes into the bias.
            correction += features[part].mean(axis=0, dtype=np.float64) @ (rows[part] - rounded)
            terms.append(f"{name}.{part}.product")
            inputs = [f"{part}.dequantized", f"{name}.{part}.weight"]
            yield helper.make_node("MatMul", inputs, [terms[-1]], name=terms[-1])
    narrow = [part for part in head.parts if part not in wide]
    if narrow:
        seen = narrow[0]
        if len(narrow) > 1:
            seen = f"{name}.narrow"
            yield helper.make_node("Concat", narrow, [seen], name=seen, axis=1)
        added[f"{name}.narrow.weight"] = np.concatenate([rows[part] for part in narrow])
        terms.append(f"{name}.narrow.product")
        inputs = [seen, f"{name}.narrow.weight"]
        yield helper.make_node("MatMul", inputs, [terms[-1]], name=terms[-1])
    total = terms[0]
    for count, term in enumerate(terms[1:], start=1):
        partial = f"{name}.sum{count}"
        yield helper.make_node("Add", [total, term], [partial], name=partial)
        total = partial
    added[f"{name}.bias"] = (bias + correction).astype(np.float32)
    yield helper.make_node("Add", [total, f"{name}.bias"], [name], name=head.node)


def _dequantized_part(
    part: str, values: Array, added: dict[str, NDArray[Any]]
) -> Iterator[onnx.NodeProto]:
    """Round activations to the levels; two heads may read the same ones."""
    scale, zero = f"{part}.scale", f"{part}.zero"
    if scale in added:
        return
    low, high = min(float(values.min()), 0.0), float(values.max())
    step = max(high - low, 1e-6) / _LEVELS
    added[scale] = np.array(step, np.float32)
    added[zero] = np.array(round(-low / step), np.uint8)
    coded, back = f"{part}.quantized", f"{part}.dequantized"
    yield helper.make_node("QuantizeLinear", [part, scale, zero], [coded], name=coded)
    yield helper.make_node("DequantizeLinear", [coded, scale, zero], [back], name=back)


def _dequantized_weight(
    name: str, weight: Array, added: dict[str, NDArray[Any]]
) -> Iterator[onnx.NodeProto]:
    """Round weights to -127 ... 127 with one scale for each gene."""
    largest = np.abs(weight).max(axis=0)
    scale = np.where(largest > 0, largest / _LEVELS, 1).astype(np.float32)
    added[f"{name}.int8"] = np.rint(weight / scale).astype(np.int8)
    added[f"{name}.scales"] = scale
    inputs = [f"{name}.int8", f"{name}.scales"]
    output = f"{name}.weight"
    yield helper.make_node("DequantizeLinear", inputs, [output], name=output, axis=1)


def _error(
    model: onnx.ModelProto, quantized: onnx.ModelProto, spec: GeneratorSpec
) -> dict[str, float | int]:
    n_genes = spec.n_genes
    difference, size = np.zeros(n_genes), np.zeros(n_genes)
    drift, total = np.zeros(n_genes), np.zeros(n_genes)
    names = [name for name in spec.outputs if name in ("mean", "zero_logits")]
    runs = (_computed(m, names, spec, _ERROR_CELLS, seed=1) for m in (model, quantized))
    for exact, rounded in zip(*runs, strict=True):
        a, b = _expected(exact), _expected(rounded)
        difference += ((b - a) ** 2).sum(axis=0)
        size += (a**2).sum(axis=0)
        drift += (b - a).sum(axis=0)
        total += np.abs(a).sum(axis=0)
    square = difference / np.maximum(size, np.finfo(float).tiny)
    averages = np.abs(drift) / np.maximum(total, np.finfo(float).tiny)
    return {
        "rms": float(f"{np.sqrt(square.mean()):.3g}"),
        "worst_gene": float(f"{np.sqrt(square.max()):.3g}"),
        "worst_average": float(f"{averages.max():.3g}"),
        "n_cells": _ERROR_CELLS,
    }


def _expected(outputs: Mapping[str, Array]) -> NDArray[np.float64]:
    mean = outputs["mean"].astype(np.float64)
    if "zero_logits" in outputs:
        mean *= 0.5 - 0.5 * np.tanh(0.5 * outputs["zero_logits"].astype(np.float64))
    return mean


def _computed(
    model: onnx.ModelProto, names: list[str], spec: GeneratorSpec, n_cells: int, *, seed: int
) -> Iterator[dict[str, Array]]:
    """Yield values of a graph by name, inputs among them, for cells from the prior, in steps."""
    runtime = require("onnxruntime", extra="train", purpose="Export")
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    shown = {value.name for value in (*probe.graph.input, *probe.graph.output)}
    for name in dict.fromkeys(names):
        if name not in shown:
            value = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            probe.graph.output.append(value)
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    wanted = [name for name in dict.fromkeys(names) if name not in spec.inputs]
    inputs = _prior_inputs(spec, n_cells, seed)
    for start in range(0, n_cells, _STEP):
        feed = {name: value[start : start + _STEP] for name, value in inputs.items()}
        yield feed | dict(zip(wanted, session.run(wanted, feed), strict=True))


def _concatenate(steps: Iterator[dict[str, Array]]) -> dict[str, Array]:
    collected = list(steps)
    return {name: np.concatenate([step[name] for step in collected]) for name in collected[0]}


def _prior_inputs(spec: GeneratorSpec, n_cells: int, seed: int) -> dict[str, Array]:
    """Draw inputs of the graph from the prior, all seen combinations alike."""
    rng = np.random.default_rng(seed)
    prior, conditions = spec.prior, spec.conditions
    group = np.arange(n_cells) % len(conditions.n_cells)
    if prior.kind == "standard_normal":
        z = rng.standard_normal((n_cells, spec.n_latent))
    else:
        own = [slice(*prior.offsets[g : g + 2]) for g in group]
        component = [
            s.start + rng.choice(s.stop - s.start, p=_normal(prior.weights[s])) for s in own
        ]
        noise = rng.standard_normal((n_cells, prior.means.shape[1], 1))
        drawn = prior.means[component] + (prior.tril[prior.factor[component]] @ noise)[:, :, 0]
        z = drawn[:, : spec.n_latent]
    inputs: dict[str, NDArray[Any]] = {"z": z}
    if conditions.keys:
        inputs["condition"] = conditions.one_hot(conditions.combinations[group])
    if spec.library is not None:
        inputs["library"] = np.exp(spec.library.location[group])[:, None]
    return {name: value.astype(np.float32) for name, value in inputs.items()}


def _normal(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(weights / weights.sum())
