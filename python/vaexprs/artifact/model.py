"""Refuse models that no artifact may be: operators, constants, inputs and outputs."""

from __future__ import annotations

import numpy as np

from vaexprs.artifact.onnx import reader
from vaexprs.artifact.onnx.operators import OPERATORS
from vaexprs.artifact.onnx.reader import FLOAT, ITEM_SIZES, TYPE_NAMES, Model, Tensor, Value
from vaexprs.errors import ArtifactError
from vaexprs.spec import PREFIX, GeneratorSpec

#: Protobuf, and with it every other reader of ONNX, ends at 2 GiB.
MAX_BYTES = 2**31 - 1
#: Versions that onnxruntime 1.20, the oldest supported, reads; the operators kept their meaning
#: since 13.
OPSETS = range(13, 22)
IR_VERSIONS = range(7, 11)
#: Nodes of a graph; our deepest has about 60.
MAX_NODES = 2000


def checked_model(data: bytes) -> Model:
    """Read a model from its bytes; refuse one that is no artifact, whatever its metadata."""
    if not data:
        raise ArtifactError("the file is empty.")
    if len(data) > MAX_BYTES:
        raise ArtifactError(f"{len(data)} bytes; an .onnx file has at most {MAX_BYTES}.")
    try:
        model = reader.read_model(data)
    except ArtifactError as error:
        raise ArtifactError(f"no ONNX model, or a damaged one: {error}") from None

    if not any(key.startswith(PREFIX) for key in model.metadata):
        raise ArtifactError(
            "an ONNX model without vaexprs metadata: it was not exported by vaexprs."
        )
    domains = {*model.opsets, *(node.domain for node in model.graph.nodes)} - {""}
    if domains:
        raise ArtifactError(
            f"operators of the domain {sorted(domains)[0]!r}: only standard ONNX operators are "
            "served. A file written by a runtime's optimizer is no artifact: use the original."
        )
    if "" not in model.opsets:
        raise ArtifactError("opset_import names no version of the standard operators.")
    for what, version, served in (
        ("opset_import", model.opsets[""], OPSETS),
        ("ir_version", model.ir_version, IR_VERSIONS),
    ):
        if version not in served:
            age = "newer" if version > served[-1] else "older"
            raise ArtifactError(
                f"{what} is {version}, {age} than this vaexprs serves ({served[0]} to "
                f"{served[-1]}): " + ("upgrade vaexprs." if age == "newer" else "export it again.")
            )
    if len(model.graph.nodes) > MAX_NODES:
        raise ArtifactError(f"graph has {len(model.graph.nodes)} nodes, more than {MAX_NODES}.")
    for node in model.graph.nodes:
        if node.op_type not in OPERATORS:
            raise ArtifactError(
                f"graph.node {node.name or ', '.join(node.outputs[:3])!r} ({node.op_type}): the "
                "operator is not one of those an artifact may use: "
                f"{', '.join(sorted(OPERATORS))}."
            )
    for tensor in model.graph.initializers:
        _check_tensor(tensor, f"graph.initializer {tensor.name!r}")
    return model


def check_interface(model: Model, spec: GeneratorSpec) -> None:
    """Compare the declared inputs and outputs of a graph with the metadata's promise."""
    constants = {tensor.name for tensor in model.graph.initializers}
    widths = {"input": dict(spec.inputs), "output": dict.fromkeys(spec.outputs, spec.n_genes)}
    declared = {"input": model.graph.inputs, "output": model.graph.outputs}
    for side, expected in widths.items():
        names = [value.name for value in declared[side]]
        if names != list(expected):
            raise ArtifactError(
                f"graph.{side}: expected {list(expected)} for likelihood {spec.likelihood!r} and "
                f"{len(spec.conditions.keys)} condition keys, got {names[:12]}."
            )
        for value in declared[side]:
            _check_value(value, side, expected[value.name])
            if side == "input" and value.name in constants:
                raise ArtifactError(f"graph.input {value.name!r} is also an initializer.")


def _check_tensor(tensor: Tensor, what: str) -> None:
    if tensor.is_external:
        raise ArtifactError(
            f"{what} has external data; an artifact holds everything itself. Export it again "
            "without external data."
        )
    if tensor.data_type not in ITEM_SIZES:
        shown = TYPE_NAMES.get(tensor.data_type, f"number {tensor.data_type}")
        raise ArtifactError(f"{what} has the data type {shown}, which is not served.")
    if 0 in tensor.dims:
        raise ArtifactError(f"{what} has the dims {list(tensor.dims)}: an axis of no length.")
    expected = tensor.size * ITEM_SIZES[tensor.data_type]
    if tensor.n_bytes != expected:
        raise ArtifactError(
            f"{what} has dims {list(tensor.dims)} of {TYPE_NAMES[tensor.data_type]}, "
            f"{expected} bytes, and holds {tensor.n_bytes}."
        )
    if tensor.raw is not None:
        values = np.frombuffer(tensor.raw, dtype="<f4")
        with np.errstate(over="ignore", invalid="ignore"):
            total = values.sum()
        # Finite values may overflow in the sum; only then is each looked at.
        if not np.isfinite(total) and not np.isfinite(values).all():
            raise ArtifactError(f"{what} holds values that are not finite: training diverged?")


def _check_value(value: Value, side: str, width: int) -> None:
    what = f"graph.{side} {value.name!r}"
    if value.data_type != FLOAT:
        shown = TYPE_NAMES.get(value.data_type, "no tensor")
        raise ArtifactError(f"{what} is {shown}, expected a tensor of float32.")
    gene_wise = side == "output" and value.name != "mean"
    shape = value.shape or ()
    if len(shape) != 2 or shape[1] != width or (isinstance(shape[0], int) and not gene_wise):
        raise ArtifactError(
            f"{what} has the shape {list(shape)}, expected [n_cells, {width}] with a dynamic "
            f"first axis{f' or [1, {width}]' if gene_wise else ''}."
        )
    if isinstance(shape[0], int) and shape[0] != 1:
        raise ArtifactError(f"{what} has {shape[0]} rows, expected n_cells (dynamic) or 1.")
