"""Read an .onnx file from its bytes, without onnx, protobuf or onnxruntime.

An artifact is untrusted input. This reader knows the messages and fields that an artifact may
hold and refuses all others (see `wire`), so no other reader of the same bytes sees a part of the
model that was not checked here. `vaexprs.artifact.model` decides what is served.

Field numbers: ``onnx/onnx.proto`` of the ONNX standard.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

from vaexprs.artifact.onnx.wire import Schema, WireReader, text
from vaexprs.errors import ArtifactError

#: Axes of a tensor: scalars, vectors and matrices.
MAX_AXES = 2
#: Bytes of all metadata together.
MAX_METADATA = 2**26

#: Bytes of one value of the tensor types an artifact may hold, by their number in ONNX.
ITEM_SIZES = {1: 4, 2: 1, 3: 1, 6: 4}
TYPE_NAMES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    8: "string", 9: "bool", 10: "float16", 11: "float64", 16: "bfloat16",
}  # fmt: skip
FLOAT = 1  # the number of float32


@dataclass(frozen=True, slots=True)
class Tensor:
    """A constant of the graph; `raw` holds float values as little-endian bytes."""

    name: str
    dims: tuple[int, ...]
    data_type: int
    n_bytes: int
    raw: memoryview | None = None
    is_external: bool = False

    @property
    def size(self) -> int:
        """Number of values by `dims`."""
        return math.prod(self.dims)


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a node: a float (``kind`` "f", its value is not read) or an integer ("i")."""

    name: str
    kind: str
    integer: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One operator of the graph."""

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute]


@dataclass(frozen=True, slots=True)
class Value:
    """A declared input, output or intermediate; `data_type` is 0 where it is no tensor."""

    name: str
    data_type: int
    #: For each axis its length, the name of a dynamic length, or None; None where undeclared.
    shape: tuple[int | str | None, ...] | None


@dataclass(frozen=True, slots=True)
class Graph:
    """The graph of a model."""

    nodes: tuple[Node, ...]
    initializers: tuple[Tensor, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    value_info: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """The contents of an .onnx file."""

    ir_version: int
    opsets: dict[str, int]
    metadata: dict[str, str]
    #: Where each metadata entry lies in the file, tag and length included: ``start, stop``.
    metadata_spans: dict[str, tuple[int, int]]
    graph: Graph


_MODEL: Schema = {
    1: ("ir_version", "int"), 2: ("producer_name", "text"), 3: ("producer_version", "text"),
    4: ("domain", "text"), 5: ("model_version", "int"), 6: ("doc_string", "text"),
    7: ("graph", "message"), 8: ("opset_import", "message*"), 14: ("metadata_props", "message*"),
}  # fmt: skip
_OPSET: Schema = {1: ("domain", "text"), 2: ("version", "int")}
_ENTRY: Schema = {1: ("key", "text"), 2: ("value", "text")}
_GRAPH: Schema = {
    1: ("node", "message*"), 2: ("name", "text"), 5: ("initializer", "message*"),
    10: ("doc_string", "text"), 11: ("input", "message*"), 12: ("output", "message*"),
    13: ("value_info", "message*"),
}  # fmt: skip
_NODE: Schema = {
    1: ("input", "text*"), 2: ("output", "text*"), 3: ("name", "text"), 4: ("op_type", "text"),
    5: ("attribute", "message*"), 6: ("doc_string", "text"), 7: ("domain", "text"),
}  # fmt: skip
# No operator of the list takes a list, a text, a tensor or a graph as an attribute.
_ATTRIBUTE: Schema = {
    1: ("name", "text"), 2: ("f", "float"), 3: ("i", "int"), 13: ("doc_string", "text"),
    20: ("type", "int"),
}  # fmt: skip
_TENSOR: Schema = {
    1: ("dims", "int*"), 2: ("data_type", "int"), 4: ("float_data", "packed"),
    5: ("int32_data", "packed"), 8: ("name", "text"), 9: ("raw_data", "bytes"),
    12: ("doc_string", "text"), 13: ("external_data", "message*"), 14: ("data_location", "int"),
}  # fmt: skip
_VALUE: Schema = {1: ("name", "text"), 2: ("type", "message"), 3: ("doc_string", "text")}
_TYPE: Schema = {1: ("tensor_type", "message"), 6: ("denotation", "text")}
_TENSOR_TYPE: Schema = {1: ("elem_type", "int"), 2: ("shape", "message")}
_SHAPE: Schema = {1: ("dim", "message*")}
_AXIS: Schema = {1: ("dim_value", "int"), 2: ("dim_param", "text"), 3: ("denotation", "text")}

_NOTHING = memoryview(b"")

# The field that holds the value of an attribute, by the attribute's declared type.
_ATTRIBUTE_KINDS = {1: "f", 2: "i"}

# The typed fields that store values, and the data types that each is for.
_STORES = {"float_data": {1}, "int32_data": {2, 3, 6}}


def read_model(data: bytes) -> Model:
    """Read what a serialized ``ModelProto`` says."""
    wire = WireReader()
    view = memoryview(data).toreadonly()
    metadata: dict[str, str] = {}
    spans: dict[str, tuple[int, int]] = {}
    left = MAX_METADATA
    for number, wire_type, value, start, stop in wire.fields(view, "the model"):
        # The first of two passes, which notes where the metadata lie.
        if _MODEL.get(number, ("",))[0] == "metadata_props" and wire_type == 2:
            what = f"metadata_props[{len(spans)}]"
            entry = wire.message(value, _ENTRY, what)
            key = text(entry, "key", what)
            if key in spans:
                raise ArtifactError(f"metadata {key!r} is there twice.")
            if stop - start > left:
                raise ArtifactError(f"the metadata have more than {MAX_METADATA} bytes.")
            left -= stop - start
            metadata[key] = text(entry, "value", f"metadata {key!r}", MAX_METADATA)
            spans[key] = (start, stop)
    model = wire.message(view, _MODEL, "the model")
    if "graph" not in model:
        raise ArtifactError("the model has no graph.")
    opsets: dict[str, int] = {}
    for inner in model.get("opset_import", ()):
        entry = wire.message(inner, _OPSET, "opset_import")
        domain = _domain(entry, "opset_import")
        if domain in opsets:
            raise ArtifactError(f"opset_import names the domain {domain!r} twice.")
        opsets[domain] = entry.get("version", 0)
    return Model(
        ir_version=model.get("ir_version", 0),
        opsets=opsets,
        metadata=metadata,
        metadata_spans=spans,
        graph=_graph(wire, model["graph"]),
    )


def _graph(wire: WireReader, view: memoryview) -> Graph:
    graph = wire.message(view, _GRAPH, "graph")

    def values(name: str) -> tuple[Value, ...]:
        views = graph.get(name, ())
        return tuple(_value(wire, v, f"graph.{name}[{i}]") for i, v in enumerate(views))

    return Graph(
        nodes=tuple(
            _node(wire, v, f"graph.node[{i}]") for i, v in enumerate(graph.get("node", ()))
        ),
        initializers=tuple(
            _tensor(wire, v, f"graph.initializer[{i}]")
            for i, v in enumerate(graph.get("initializer", ()))
        ),
        inputs=values("input"),
        outputs=values("output"),
        value_info=values("value_info"),
    )


def _node(wire: WireReader, view: memoryview, what: str) -> Node:
    node = wire.message(view, _NODE, what)
    attributes: dict[str, Attribute] = {}
    for inner in node.get("attribute", ()):
        attribute = _attribute(wire, inner, f"{what}.attribute[{len(attributes)}]")
        if attribute.name in attributes:
            raise ArtifactError(f"{what} has the attribute {attribute.name!r} twice.")
        attributes[attribute.name] = attribute
    return Node(
        name=text(node, "name", what),
        op_type=text(node, "op_type", what),
        domain=_domain(node, what),
        inputs=tuple(text({"input": v}, "input", what) for v in node.get("input", ())),
        outputs=tuple(text({"output": v}, "output", what) for v in node.get("output", ())),
        attributes=attributes,
    )


def _attribute(wire: WireReader, view: memoryview, what: str) -> Attribute:
    attribute = wire.message(view, _ATTRIBUTE, what)
    name = text(attribute, "name", what)
    kind = _ATTRIBUTE_KINDS.get(attribute.get("type", 0), "")
    stored = attribute.keys() & {*_ATTRIBUTE_KINDS.values()}
    if stored != {kind}:
        raise ArtifactError(
            f"{what} ({name!r}) has the type {attribute.get('type', 0)} and stores "
            f"{', '.join(sorted(stored)) or 'nothing'}, expected {kind or 'a float or integer'}."
        )
    if kind == "f" and not math.isfinite(struct.unpack("<f", attribute["f"])[0]):
        raise ArtifactError(f"{what} ({name!r}) is not finite.")
    return Attribute(name, kind, attribute["i"] if kind == "i" else 0)


def _tensor(wire: WireReader, view: memoryview, what: str) -> Tensor:
    tensor = wire.message(view, _TENSOR, what)
    name = text(tensor, "name", what)
    what = f"{what} ({name!r})"
    dims = tuple(tensor.get("dims", ()))
    if len(dims) > MAX_AXES or min(dims, default=0) < 0:
        raise ArtifactError(f"{what} has dims {list(dims[:9])}: too many, or below 0.")
    data_type = tensor.get("data_type", 0)
    if "external_data" in tensor or tensor.get("data_location", 0) != 0:
        return Tensor(name, dims, data_type, 0, is_external=True)
    stores = tensor.keys() & {"raw_data", *_STORES}
    if len(stores) > 1:
        raise ArtifactError(f"{what} stores its values twice: {' and '.join(sorted(stores))}.")
    if not stores or data_type not in ITEM_SIZES:
        return Tensor(name, dims, data_type, 0)
    store = stores.pop()
    data: memoryview = tensor[store]
    if store != "raw_data" and data_type not in _STORES[store]:
        raise ArtifactError(f"{what} is {TYPE_NAMES[data_type]} and stores its values as {store}.")
    if store == "int32_data":
        size = ITEM_SIZES[data_type] * len(wire.integers(data, what))
        return Tensor(name, dims, data_type, size)
    return Tensor(name, dims, data_type, len(data), data if data_type == FLOAT else None)


def _value(wire: WireReader, view: memoryview, what: str) -> Value:
    value = wire.message(view, _VALUE, what)
    name = text(value, "name", what)
    what = f"{what} ({name!r})"
    kind = wire.message(value.get("type", _NOTHING), _TYPE, what)
    tensor = wire.message(kind.get("tensor_type", _NOTHING), _TENSOR_TYPE, what)
    if "shape" not in tensor:
        return Value(name, tensor.get("elem_type", 0), None)
    shape: list[int | str | None] = []
    for inner in wire.message(tensor["shape"], _SHAPE, what).get("dim", ()):
        axis = wire.message(inner, _AXIS, what)
        if "dim_value" in axis and "dim_param" in axis:
            raise ArtifactError(f"{what} has an axis with both a length and a name for it.")
        shape.append(axis.get("dim_value", text(axis, "dim_param", what) or None))
    return Value(name, tensor.get("elem_type", 0), tuple(shape))


def _domain(message: dict[str, Any], what: str) -> str:
    """Return the domain of operators; the standard one has two names."""
    domain = text(message, "domain", what)
    return "" if domain == "ai.onnx" else domain
