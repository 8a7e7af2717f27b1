"""The reader of .onnx files: agrees with onnx on good bytes, and is safe on all others."""

from __future__ import annotations

import itertools
import tracemalloc
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vaexprs.artifact import Artifact, load_artifact
from vaexprs.artifact.onnx.reader import Model, read_model
from vaexprs.artifact.onnx.wire import MAX_FIELDS, MAX_NUMBERS, WireReader, encode_bytes
from vaexprs.errors import ArtifactError
from vaexprs.spec import OUTPUTS

LIKELIHOODS = list(OUTPUTS)


def varint(value: int) -> bytes:
    """Encode a number as protobuf does."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value % 2**64)


def view(data: bytes) -> memoryview:
    return memoryview(data)


def agrees(model: Model, reference: Any) -> None:
    """Compare what was read with what onnx reads in the same bytes."""
    assert model.ir_version == reference.ir_version
    assert model.opsets == {
        "" if o.domain == "ai.onnx" else o.domain: o.version for o in reference.opset_import
    }
    assert model.metadata == {entry.key: entry.value for entry in reference.metadata_props}
    graph = reference.graph
    for ours, theirs in ((model.graph.inputs, graph.input), (model.graph.outputs, graph.output)):
        assert [v.name for v in ours] == [v.name for v in theirs]
        for a, b in zip(ours, theirs, strict=True):
            if a.data_type:
                tensor = b.type.tensor_type
                assert a.data_type == tensor.elem_type
                shape = [d.dim_value if d.HasField("dim_value") else d.dim_param or None
                         for d in tensor.shape.dim]  # fmt: skip
                assert list(a.shape or ()) == shape
    assert [t.name for t in model.graph.initializers] == [t.name for t in graph.initializer]
    for a, b in zip(model.graph.initializers, graph.initializer, strict=True):
        assert (list(a.dims), a.data_type) == (list(b.dims), b.data_type)
        assert a.is_external == (b.data_location != 0 or len(b.external_data) > 0)
        if a.raw is not None and b.HasField("raw_data"):
            assert bytes(a.raw) == b.raw_data
    assert len(model.graph.nodes) == len(graph.node)
    for a, b in zip(model.graph.nodes, graph.node, strict=True):
        assert (a.op_type, a.name, list(a.inputs)) == (b.op_type, b.name, list(b.input))
        assert list(a.outputs) == list(b.output)
        assert list(a.attributes) == [attribute.name for attribute in b.attribute]
        for name, theirs in zip(a.attributes, b.attribute, strict=True):
            ours = a.attributes[name]
            assert ours.integer == (theirs.i if ours.kind == "i" else 0)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_agrees_with_onnx(tiny_artifact, likelihood: str) -> None:
    onnx = pytest.importorskip("onnx")
    data = tiny_artifact(likelihood=likelihood).read_bytes()
    model = read_model(data)
    agrees(model, onnx.ModelProto.FromString(data))
    for key, (start, stop) in model.metadata_spans.items():
        entry = onnx.ModelProto.FromString(data[start:stop]).metadata_props
        assert [(e.key, e.value) for e in entry] == [(key, model.metadata[key])]


def test_agrees_with_onnx_on_constants_of_every_kind() -> None:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    tensors = [
        helper.make_tensor("f", 1, [2], [1.5, -1]), helper.make_tensor("i", 6, [2], [-5, 5]),
        helper.make_tensor("b", 3, [2, 1], [-5, 5]), helper.make_tensor("u", 2, [], [255]),
        helper.make_tensor("r", 1, [2], b"\0\0\xc0\x3f" * 2, raw=True),
    ]  # fmt: skip
    nodes = [helper.make_node("X", [""], ["y"], b=1, f=-3, g=0.5)]
    model = helper.make_model(helper.make_graph(nodes, "g", [], [], tensors))
    ours = read_model(model.SerializeToString())
    agrees(ours, model)
    read = {t.name: t for t in ours.graph.initializers}
    sizes = {"f": 8, "i": 8, "b": 2, "u": 1, "r": 8}
    assert {name: t.n_bytes for name, t in read.items()} == sizes
    assert [t.raw is not None for t in read.values()] == [True, False, False, False, True]
    assert {a.name: a.kind for a in ours.graph.nodes[0].attributes.values()} == {
        "b": "i", "f": "i", "g": "f",
    }  # fmt: skip


def test_weights_are_not_copied(tiny_builder: ModuleType | None) -> None:
    if tiny_builder is None:
        pytest.skip("needs onnx")
    data = tiny_builder.tiny_model(n_genes=20_000, n_latent=64).SerializeToString()
    assert len(data) > 5_800_000
    tracemalloc.start()
    model = read_model(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The gene names and nothing of the 5 MB of weights.
    assert peak < 1_500_000
    assert model.graph.initializers[0].raw is not None
    assert model.graph.initializers[0].raw.obj is data


# The wire format.


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x08", "cut off in the middle of a number"),
        (b"\x08\x80", "cut off in the middle of a number"),
        (b"\x08" + b"\xff" * 10, "a number of more than 64 bits"),
        (b"\x08" + b"\xff" * 9 + b"\x02", "a number of more than 64 bits"),
        (b"\x0a\x05abc", "cut off: field 1 needs 5 bytes and 3 are left"),
        (b"\x0a" + varint(2**62) + b"abc", "cut off: field 1 needs 4611686018427387904 bytes"),
        (b"\x0d\x00\x00", "cut off: field 1 needs 4 bytes and 2 are left"),
        (b"\x09\x00\x00", "cut off: field 1 needs 8 bytes and 2 are left"),
        (b"\x0b", "a field of wire type 3"),
        (b"\x0c", "a field of wire type 4"),
        (b"\x0e", "a field of wire type 6"),
        (b"\x00\x00", "a field of number 0"),
        (varint(2**29 << 3) + b"\x00", "a field of number 536870912"),
        (number(99, 1), "a field of number 99, which an artifact has no use for"),
        (number(7, 1), "the model.graph has the wire type 0, not 2"),
        (encode_bytes(1, b"x"), "the model.ir_version has the wire type 2, not 0"),
        (number(1, 8) + number(1, 8), "the model.ir_version is there twice"),
        (encode_bytes(7, b"") * 2, "the model.graph is there twice"),
        (encode_bytes(7, encode_bytes(1, encode_bytes(4, b"\xff"))), "op_type is not UTF-8"),
        (encode_bytes(7, encode_bytes(1, encode_bytes(8, b"o"))), r"node\[0\] has a field of .* 8"),
        (encode_bytes(14, encode_bytes(1, b"k") * 2), r"metadata_props\[0\].key is there twice"),
    ],
)
def test_bytes_that_are_no_model(data: bytes, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        read_model(data)


def test_numbers_are_signed_64_bits() -> None:
    for value in (0, 1, 127, 128, 2**31, 2**63 - 1, -1, -(2**63)):
        message = WireReader().message(view(number(1, value)), {1: ("n", "int")}, "it")
        assert message == {"n": value}


def test_lists_of_numbers_packed_or_not() -> None:
    data = number(1, 5) + encode_bytes(1, varint(300) + varint(2**64 - 1)) + number(1, 7)
    assert WireReader().message(view(data), {1: ("n", "int*")}, "it") == {"n": [5, 300, -1, 7]}
    with pytest.raises(ArtifactError, match=r"it\.n is cut off in the middle"):
        WireReader().message(view(encode_bytes(1, b"\x80")), {1: ("n", "int*")}, "it")


def test_what_is_allocated_is_bounded() -> None:
    many = encode_bytes(1, b"\x01" * (MAX_NUMBERS + 1))
    with pytest.raises(ArtifactError, match=f"more than {MAX_NUMBERS} numbers"):
        WireReader().message(view(many), {1: ("n", "int*")}, "it")
    many = number(1, 1) * (MAX_NUMBERS + 1)
    with pytest.raises(ArtifactError, match=f"more than {MAX_NUMBERS} numbers"):
        WireReader().message(view(many), {1: ("n", "int*")}, "it")
    nodes = encode_bytes(7, encode_bytes(1, b"") * (MAX_FIELDS + 1))
    with pytest.raises(ArtifactError, match=f"the file has more than {MAX_FIELDS} fields"):
        read_model(nodes)
    entry = encode_bytes(14, encode_bytes(1, b"k") + encode_bytes(2, b"v" * 2**26))
    with pytest.raises(ArtifactError, match="the metadata have more than 67108864 bytes"):
        read_model(entry)


def test_a_graph_in_an_attribute_is_not_entered() -> None:
    attribute = encode_bytes(1, b"a") + encode_bytes(6, b"\xff" * 9) + b"\xa0\x01\x05"
    graph = encode_bytes(1, encode_bytes(5, attribute))
    with pytest.raises(ArtifactError, match="a field of number 6, which an artifact has no use"):
        read_model(encode_bytes(7, graph))


# Fuzzing.

edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "insert", "delete", "copy", "number"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 2**64 - 1),
        st.floats(0, 1, exclude_max=True),
    ),
    min_size=1,
    max_size=6,
)


def edited(data: bytes, changes: list[tuple[str, float, int, float]]) -> bytes:
    """Damage bytes: bits, bytes, runs cut out or copied elsewhere, numbers overwritten."""
    out = bytearray(data)
    for kind, place, value, other in changes:
        at = int(place * max(len(out), 1))
        if kind == "flip" and out:
            out[at] ^= 1 << value % 8
        elif kind == "set" and out:
            out[at] = value % 256
        elif kind == "insert":
            out[at:at] = value.to_bytes(8, "little")[: 1 + value % 8]
        elif kind == "delete":
            del out[at : at + 1 + value % 64]
        elif kind == "copy":
            start = int(other * len(out))
            out[at:at] = out[start : start + 1 + value % 200]
        elif kind == "number":
            out[at : at + len(varint(value))] = varint(value)
    return bytes(out)


def survives(data: bytes) -> None:
    """Load bytes: an artifact, on which onnx agrees, or an `ArtifactError`; nothing else."""
    try:
        artifact = load_artifact(data)
    except ArtifactError:
        return
    assert isinstance(artifact, Artifact)
    onnx = pytest.importorskip("onnx")
    agrees(read_model(data), onnx.ModelProto.FromString(data))


@pytest.fixture(scope="module")
def artifacts(tiny_artifact) -> list[bytes]:
    return [tiny_artifact(likelihood=likelihood).read_bytes() for likelihood in LIKELIHOODS]


@settings(max_examples=500, suppress_health_check=list(HealthCheck))
@given(which=st.integers(0, len(LIKELIHOODS) - 1), changes=edits)
def test_damaged_bytes(artifacts, which: int, changes) -> None:
    survives(edited(artifacts[which], changes))


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    survives(data)


def test_every_single_bit(tiny_artifact) -> None:
    """Each bit of the part before the metadata, flipped by itself."""
    data = tiny_artifact(n_genes=2, n_latent=1, keys=None, likelihood="poisson").read_bytes()
    start = min(start for start, _ in read_model(data).metadata_spans.values())
    for at, bit in itertools.product(range(start), range(8)):
        survives(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
