"""What an .onnx file says, read from its bytes without onnx, protobuf or onnxruntime.

An artifact is untrusted input, so this is a reader of the protobuf wire format that is strict
where the usual ones are lenient. It knows the messages and fields that an artifact may hold and
refuses others: an unknown field, a singular field that comes twice (protobuf would merge the
two), a wrong wire type, a group, a length that runs over the end. So no other reader of the same
bytes sees a model that was not checked here.

It neither recurses nor copies weights: tensors keep a `memoryview` into the file. What it
allocates is bounded by the limits below, whatever the bytes claim.

Field numbers: ``onnx/onnx.proto`` of the ONNX standard. Wire format: "Encoding" in the protobuf
documentation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from vaexprs.errors import ArtifactError

__all__ = ["Attribute", "Graph", "Model", "Node", "Tensor", "Value", "read_model"]

#: Fields in the whole file. A decoder of a thousand nodes has some ten thousand.
MAX_FIELDS = 500_000
#: Axes of a tensor, and numbers in a list attribute.
MAX_AXES = 8
MAX_NUMBERS = 4096

#: Bytes of one value of the tensor types an artifact may hold, by their number in ONNX.
ITEM_SIZES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 10: 2, 11: 8}
TYPE_NAMES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    8: "string", 9: "bool", 10: "float16", 11: "float64", 16: "bfloat16",
}  # fmt: skip
FLOAT, INT32, INT64 = 1, 6, 7


@dataclass(frozen=True, slots=True)
class Tensor:
    """A constant: an initialiser, or the value of a ``Constant`` node.

    `n_bytes` is what the values take in the file, `raw` the values as little-endian bytes where
    the file has them so, `numbers` the values where the file has them as a short list.
    """

    name: str
    dims: tuple[int, ...]
    data_type: int
    n_bytes: int
    raw: memoryview | None = None
    numbers: tuple[int, ...] | None = None
    is_external: bool = False

    @property
    def size(self) -> int:
        """Number of values that `dims` promises."""
        return math.prod(self.dims)

    def integers(self, limit: int) -> tuple[int, ...] | None:
        """Return the values of a short tensor of integers, or None if it is none."""
        if self.data_type not in (INT32, INT64) or self.size > limit:
            return None
        if self.numbers is not None:
            return self.numbers
        if self.raw is None:
            return ()
        step = ITEM_SIZES[self.data_type]
        return tuple(
            int.from_bytes(self.raw[at : at + step], "little", signed=True)
            for at in range(0, len(self.raw), step)
        )


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a node; `kind` names the field that holds its value."""

    name: str
    kind: str
    integer: int = 0
    integers: tuple[int, ...] = ()
    n_values: int = 1
    tensor: Tensor | None = None


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
    n_sparse_initializers: int


@dataclass(frozen=True, slots=True)
class Model:
    """What an .onnx file says."""

    ir_version: int
    producer: str
    opsets: dict[str, int]
    metadata: dict[str, str]
    #: Where each metadata entry lies in the file, tag and length included: ``start, stop``.
    metadata_spans: dict[str, tuple[int, int]]
    graph: Graph
    n_functions: int
    n_training_infos: int
    #: Bytes of the file.
    size: int = field(default=0)


# Field number: name and kind. "*" marks a repeated field.
_Schema = dict[int, tuple[str, str]]
_MODEL: _Schema = {
    1: ("ir_version", "int"), 2: ("producer_name", "text"), 3: ("producer_version", "text"),
    4: ("domain", "text"), 5: ("model_version", "int"), 6: ("doc_string", "text"),
    7: ("graph", "message"), 8: ("opset_import", "message*"), 14: ("metadata_props", "message*"),
    20: ("training_info", "message*"), 25: ("functions", "message*"),
}  # fmt: skip
_OPSET: _Schema = {1: ("domain", "text"), 2: ("version", "int")}
_ENTRY: _Schema = {1: ("key", "text"), 2: ("value", "text")}
_GRAPH: _Schema = {
    1: ("node", "message*"), 2: ("name", "text"), 5: ("initializer", "message*"),
    10: ("doc_string", "text"), 11: ("input", "message*"), 12: ("output", "message*"),
    13: ("value_info", "message*"), 15: ("sparse_initializer", "message*"),
    16: ("metadata_props", "message*"),
}  # fmt: skip
_NODE: _Schema = {
    1: ("input", "text*"), 2: ("output", "text*"), 3: ("name", "text"), 4: ("op_type", "text"),
    5: ("attribute", "message*"), 6: ("doc_string", "text"), 7: ("domain", "text"),
    9: ("metadata_props", "message*"),
}  # fmt: skip
_ATTRIBUTE: _Schema = {
    1: ("name", "text"), 2: ("f", "fixed32"), 3: ("i", "int"), 4: ("s", "message"),
    5: ("t", "message"), 6: ("g", "message"), 7: ("floats", "fixed32*"), 8: ("ints", "int*"),
    9: ("strings", "message*"), 10: ("tensors", "message*"), 11: ("graphs", "message*"),
    13: ("doc_string", "text"), 14: ("tp", "message"), 15: ("type_protos", "message*"),
    20: ("type", "int"), 21: ("ref_attr_name", "text"), 22: ("sparse_tensor", "message"),
    23: ("sparse_tensors", "message*"),
}  # fmt: skip
_TENSOR: _Schema = {
    1: ("dims", "int*"), 2: ("data_type", "int"), 4: ("float_data", "packed"),
    5: ("int32_data", "packed"), 7: ("int64_data", "packed"), 8: ("name", "text"),
    9: ("raw_data", "message"), 10: ("double_data", "packed"), 12: ("doc_string", "text"),
    13: ("external_data", "message*"), 14: ("data_location", "int"),
    16: ("metadata_props", "message*"),
}  # fmt: skip
_VALUE: _Schema = {
    1: ("name", "text"), 2: ("type", "message"), 3: ("doc_string", "text"),
    4: ("metadata_props", "message*"),
}  # fmt: skip
_TYPE: _Schema = {
    1: ("tensor_type", "message"), 4: ("sequence_type", "message"), 5: ("map_type", "message"),
    6: ("denotation", "text"), 8: ("sparse_tensor_type", "message"),
    9: ("optional_type", "message"),
}  # fmt: skip
_TENSOR_TYPE: _Schema = {1: ("elem_type", "int"), 2: ("shape", "message")}
_SHAPE: _Schema = {1: ("dim", "message*")}
_DIMENSION: _Schema = {
    1: ("dim_value", "int"), 2: ("dim_param", "text"), 3: ("denotation", "text"),
}  # fmt: skip

_WIRE_TYPES = {"int": 0, "fixed32": 5}  # every other kind is length-delimited, 2
_ATTRIBUTE_KINDS = (
    "f", "i", "s", "t", "g", "floats", "ints", "strings", "tensors", "graphs", "tp",
    "type_protos", "sparse_tensor", "sparse_tensors", "ref_attr_name",
)  # fmt: skip


def read_model(data: bytes) -> Model:
    """Read what a serialized ``ModelProto`` says.

    Parameters
    ----------
    data
        The bytes of an .onnx file.

    Raises
    ------
    ArtifactError
        If the bytes are not a well-formed ONNX model of known fields, or exceed the limits at
        the top of this file; the message names the part of the model.
    """
    return _Reader(data).model()


class _Reader:
    """Reads messages of one file and counts the fields it has seen."""

    def __init__(self, data: bytes) -> None:
        self.view = memoryview(data).toreadonly()
        self.n_fields = 0

    def model(self) -> Model:
        metadata: dict[str, str] = {}
        spans: dict[str, tuple[int, int]] = {}
        for number, _, value, start, stop in self._fields(self.view, "the model"):
            # Seen once here for the spans and once below for the values: it is one short level.
            if number == 14 and isinstance(value, memoryview):
                what = f"metadata_props[{len(spans)}]"
                entry = self._message(value, _ENTRY, what)
                key = _text(entry, "key", what)
                if key in spans:
                    raise ArtifactError(f"metadata {key!r} is there twice.")
                metadata[key] = _text(entry, "value", f"metadata {key!r}")
                spans[key] = (start, stop)
        top = self._message(self.view, _MODEL, "the model")
        if "graph" not in top:
            raise ArtifactError("the model has no graph: the file is no ONNX model, or is damaged.")
        opsets: dict[str, int] = {}
        for view in top.get("opset_import", ()):
            entry = self._message(view, _OPSET, "opset_import")
            domain = _text(entry, "domain", "opset_import")
            domain = "" if domain == "ai.onnx" else domain
            if domain in opsets:
                raise ArtifactError(f"opset_import names the domain {domain!r} twice.")
            opsets[domain] = entry.get("version", 0)
        producer = f"{_text(top, 'producer_name', 'the model')} "
        return Model(
            ir_version=top.get("ir_version", 0),
            producer=(producer + _text(top, "producer_version", "the model")).strip(),
            opsets=opsets,
            metadata=metadata,
            metadata_spans=spans,
            graph=self._graph(top["graph"]),
            n_functions=len(top.get("functions", ())),
            n_training_infos=len(top.get("training_info", ())),
            size=len(self.view),
        )

    def _graph(self, view: memoryview) -> Graph:
        graph = self._message(view, _GRAPH, "graph")

        def values(name: str) -> tuple[Value, ...]:
            views = graph.get(name, ())
            return tuple(self._value(v, f"graph.{name}[{i}]") for i, v in enumerate(views))

        return Graph(
            nodes=tuple(
                self._node(v, f"graph.node[{i}]") for i, v in enumerate(graph.get("node", ()))
            ),
            initializers=tuple(
                self._tensor(v, f"graph.initializer[{i}]")
                for i, v in enumerate(graph.get("initializer", ()))
            ),
            inputs=values("input"),
            outputs=values("output"),
            value_info=values("value_info"),
            n_sparse_initializers=len(graph.get("sparse_initializer", ())),
        )

    def _node(self, view: memoryview, what: str) -> Node:
        node = self._message(view, _NODE, what)
        attributes: dict[str, Attribute] = {}
        for inner in node.get("attribute", ()):
            attribute = self._attribute(inner, f"{what}.attribute[{len(attributes)}]")
            if attribute.name in attributes:
                raise ArtifactError(f"{what} has the attribute {attribute.name!r} twice.")
            attributes[attribute.name] = attribute
        domain = _text(node, "domain", what)
        return Node(
            name=_text(node, "name", what),
            op_type=_text(node, "op_type", what),
            domain="" if domain == "ai.onnx" else domain,
            inputs=tuple(_decode(v, f"{what}.input") for v in node.get("input", ())),
            outputs=tuple(_decode(v, f"{what}.output") for v in node.get("output", ())),
            attributes=attributes,
        )

    def _attribute(self, view: memoryview, what: str) -> Attribute:
        attribute = self._message(view, _ATTRIBUTE, what)
        name = _text(attribute, "name", what)
        kinds = [kind for kind in _ATTRIBUTE_KINDS if kind in attribute]
        if len(kinds) > 1:
            raise ArtifactError(f"{what} ({name!r}) holds two values: {' and '.join(kinds)}.")
        # A list of no elements leaves no trace but the declared type.
        kind = kinds[0] if kinds else "empty"
        value: Any = attribute.get(kind)
        return Attribute(
            name=name,
            kind=kind,
            integer=value if kind == "i" else 0,
            integers=tuple(value) if kind == "ints" else (),
            n_values=len(value) if isinstance(value, list) else 1,
            tensor=self._tensor(value, f"{what}.t") if kind == "t" else None,
        )

    def _tensor(self, view: memoryview, what: str) -> Tensor:
        tensor = self._message(view, _TENSOR, what)
        name = _text(tensor, "name", what)
        what = f"{what} ({name!r})"
        dims = tuple(tensor.get("dims", ()))
        if len(dims) > MAX_AXES or min(dims, default=0) < 0:
            raise ArtifactError(f"{what} has the dims {_shown(dims)}: too many, or below 0.")
        data_type = tensor.get("data_type", 0)
        external = "external_data" in tensor or tensor.get("data_location", 0) != 0
        stores = [kind for kind in tensor if kind.endswith("_data") and kind != "external_data"]
        if len(stores) > 1:
            raise ArtifactError(f"{what} stores its values twice: {' and '.join(stores)}.")
        if not stores or external or data_type not in ITEM_SIZES:
            return Tensor(name, dims, data_type, 0, is_external=external)
        store, data = stores[0], tensor[stores[0]]
        item = ITEM_SIZES[data_type]
        if store in ("raw_data", "float_data", "double_data"):
            if store != {1: "float_data", 11: "double_data"}.get(data_type) and store != "raw_data":
                raise ArtifactError(f"{what} is {TYPE_NAMES[data_type]} and stores {store}.")
            return Tensor(name, dims, data_type, len(data), raw=data)
        if data_type != INT64 if store == "int64_data" else data_type not in (2, 3, 6, 10):
            raise ArtifactError(f"{what} is {TYPE_NAMES[data_type]} and stores {store}.")
        numbers = tuple(self._packed(data, what))
        return Tensor(name, dims, data_type, item * len(numbers), numbers=numbers)

    def _value(self, view: memoryview, what: str) -> Value:
        value = self._message(view, _VALUE, what)
        name = _text(value, "name", what)
        what = f"{what} ({name!r})"
        kind = self._message(value["type"], _TYPE, what) if "type" in value else {}
        if "tensor_type" not in kind or len(kind.keys() - {"denotation"}) > 1:
            return Value(name, 0, None)
        tensor = self._message(kind["tensor_type"], _TENSOR_TYPE, what)
        if "shape" not in tensor:
            return Value(name, tensor.get("elem_type", 0), None)
        shape: list[int | str | None] = []
        for inner in self._message(tensor["shape"], _SHAPE, what).get("dim", ()):
            dim = self._message(inner, _DIMENSION, what)
            if "dim_value" in dim and "dim_param" in dim:
                raise ArtifactError(f"{what} has an axis with a length and a name for it.")
            shape.append(dim.get("dim_value", _text(dim, "dim_param", what) or None))
        return Value(name, tensor.get("elem_type", 0), tuple(shape))

    def _message(self, view: memoryview, schema: _Schema, what: str) -> dict[str, Any]:
        """Read one level: singular fields by name, repeated ones as lists."""
        found: dict[str, Any] = {}
        for number, wire_type, value, _, _ in self._fields(view, what):
            if number not in schema:
                raise ArtifactError(
                    f"{what} has a field of number {number}, which an artifact has no use for."
                )
            name, kind = schema[number]
            repeated = kind.endswith("*")
            kind = kind.rstrip("*")
            if kind == "int" and repeated and wire_type == 2:
                found.setdefault(name, []).extend(self._packed(value, f"{what}.{name}"))
            elif wire_type != _WIRE_TYPES.get(kind, 2) and not (
                kind == "fixed32" and repeated and wire_type == 2
            ):
                raise ArtifactError(f"{what}.{name} has the wire type {wire_type}.")
            elif repeated:
                found.setdefault(name, []).append(value)
            elif name in found:
                raise ArtifactError(f"{what}.{name} is there twice.")
            else:
                found[name] = value
            if kind == "int" and repeated and len(found[name]) > MAX_NUMBERS:
                raise ArtifactError(f"{what}.{name} has more than {MAX_NUMBERS} numbers.")
        return found

    def _fields(
        self, view: memoryview, what: str
    ) -> Iterator[tuple[int, int, int | memoryview, int, int]]:
        """Yield number, wire type, value, start and stop of the fields of one message."""
        at, stop = 0, len(view)
        while at < stop:
            self.n_fields += 1
            if self.n_fields > MAX_FIELDS:
                raise ArtifactError(f"the file has more than {MAX_FIELDS} fields.")
            start = at
            tag, at = _varint(view, at, what)
            number, wire_type = tag >> 3, tag & 7
            value: int | memoryview
            if not 0 < number < 2**29:
                raise ArtifactError(f"{what} has a field of number {number}: damaged bytes.")
            if wire_type == 0:
                value, at = _varint(view, at, what)
                value -= (value >> 63) << 64  # the format's integers are signed
            else:
                if wire_type == 2:
                    length, at = _varint(view, at, what)
                elif wire_type in (1, 5):
                    length = 8 if wire_type == 1 else 4
                else:
                    raise ArtifactError(f"{what} has a field of wire type {wire_type}.")
                if length > stop - at:
                    raise ArtifactError(
                        f"{what} is cut off: field {number} needs {length} bytes and "
                        f"{stop - at} are left."
                    )
                value, at = view[at : at + length], at + length
            yield number, wire_type, value, start, at

    def _packed(self, view: int | memoryview, what: str) -> list[int]:
        if not isinstance(view, memoryview):
            raise ArtifactError(f"{what} has values that are not packed.")
        numbers: list[int] = []
        at = 0
        while at < len(view):
            if len(numbers) >= MAX_NUMBERS:
                raise ArtifactError(f"{what} has more than {MAX_NUMBERS} numbers: use raw_data.")
            number, at = _varint(view, at, what)
            numbers.append(number - ((number >> 63) << 64))
        return numbers


def _varint(view: memoryview, at: int, what: str) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(view):
            raise ArtifactError(f"{what} is cut off in the middle of a number.")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 63:
            raise ArtifactError(f"{what} has a number of more than 64 bits: damaged bytes.")
    if value >> 64:
        raise ArtifactError(f"{what} has a number of more than 64 bits: damaged bytes.")
    return value, at


def _decode(view: memoryview, what: str) -> str:
    try:
        return str(view, "utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{what} is not UTF-8: {error.reason}.") from None


def _text(message: dict[str, Any], name: str, what: str) -> str:
    return _decode(message[name], f"{what}.{name}") if name in message else ""


def _shown(values: tuple[int, ...]) -> str:
    return str(list(values[:MAX_AXES])) + ("..." if len(values) > MAX_AXES else "")
