"""Store the weights of the decoder's last layer as 8-bit integers, and measure the error.

At 20,000 genes the product of the last hidden layer with its weights takes most of the time of
generation. In integers it takes a third, and the file a quarter of the space, for a small error
in the means, which is stored with the model.

The graph uses standard operators, as quantised models usually do: a runtime finds its integer
kernel in them, or computes the same in float32::

    hidden ─ QuantizeLinear ─ DequantizeLinear ─┐
    weight (int8) ─────────── DequantizeLinear ─┴─ MatMul ─┐
    z, condition, ... (float32) ─────────────────── MatMul ─┴─ Add ─ Add bias ─ ...

- Weights have one scale for each gene, activations one for all, fixed here on draws from the
  prior. A scale taken from the cells of a block would make them depend on each other.
- Activations use 7 of the 8 bits. Processors without VNNI add two products of 8 bits into 16 bits,
  and clip 2 * 255 * 127 silently; 2 * 127 * 127 fits.
- Blocks narrower than 64 stay float32: they matter most and cost least.
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
from vaexprs.latent.draws import draw_inputs
from vaexprs.spec import GeneratorSpec, write_metadata

Array = NDArray[np.float32]

#: Features of a block from which it is quantised.
NARROW = 64
#: Largest level of weights and activations: 7 bits.
_LEVELS = 127
#: Cells that fix the scales of activations, cells that the error is measured on, and cells
#: computed together, which bounds memory.
_CALIBRATION_CELLS, _ERROR_CELLS, _STEP = 1024, 512, 128


def quantize(model: onnx.ModelProto, spec: GeneratorSpec) -> onnx.ModelProto:
    """Return an artifact with quantised last layers, and the error of its means."""
    heads = _heads(model, spec)
    names = [name for head in heads for name in head.parts]
    features = _concatenate(_computed(model, names, spec, _CALIBRATION_CELLS, seed=0))
    wide = {name for name in names if features[name].shape[1] >= NARROW}
    if not wide:
        raise VaexprsError(
            "precision='int8' is for decoders whose last hidden layer has at least "
            f"{NARROW} units, and this one has none: use 'float32'."
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
    """Yield the nodes that replace a head: a product per wide block, and one for the narrow."""
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
            # the bias makes up for the rounding of the average cell
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
    names = list(spec.outputs)
    runs = (_computed(m, names, spec, _ERROR_CELLS, seed=1) for m in (model, quantized))
    for exact, rounded in zip(*runs, strict=True):
        a, b = (spec.value_law.expected(spec.parameters(run)) for run in (exact, rounded))
        difference += ((b - a) ** 2).sum(axis=0, dtype=np.float64)
        size += (a**2).sum(axis=0, dtype=np.float64)
        drift += (b - a).sum(axis=0, dtype=np.float64)
        total += np.abs(a).sum(axis=0, dtype=np.float64)
    square = difference / np.maximum(size, np.finfo(float).tiny)
    averages = np.abs(drift) / np.maximum(total, np.finfo(float).tiny)
    return {
        "rms": float(f"{np.sqrt(square.mean()):.3g}"),
        "worst_gene": float(f"{np.sqrt(square.max()):.3g}"),
        "worst_average": float(f"{averages.max():.3g}"),
        "n_cells": _ERROR_CELLS,
    }


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
    inputs = prior_inputs(spec, n_cells, seed)
    for start in range(0, n_cells, _STEP):
        feed = {name: value[start : start + _STEP] for name, value in inputs.items()}
        yield feed | dict(zip(wanted, session.run(wanted, feed), strict=True))


def _concatenate(steps: Iterator[dict[str, Array]]) -> dict[str, Array]:
    collected = list(steps)
    return {name: np.concatenate([step[name] for step in collected]) for name in collected[0]}


def prior_inputs(spec: GeneratorSpec, n_cells: int, seed: int) -> dict[str, Array]:
    """Return inputs of the graph drawn from the prior, equally from all seen combinations."""
    return draw_inputs(spec, np.arange(n_cells) % len(spec.conditions.n_cells), seed)
