"""Read the protobuf wire format of ``.onnx`` files, strictly and within bounds.

A message is a sequence of fields; each has a number and a wire type. The caller names the fields
a message may have. Refused are an unknown field, a singular field that comes twice (usual readers
merge the two, or keep the last), a wrong wire type, a group, a number of more than 64 bits, and a
length that runs over the end. Messages are returned one level at a time, as views into the file.
Nothing recurses or copies, and the limits below bound the memory, whatever lengths the bytes claim.

Wire format: "Encoding", https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vaexprs.errors import ArtifactError

#: Fields in a whole file. A decoder of a thousand nodes has some twenty thousand.
MAX_FIELDS = 200_000
#: Numbers in one repeated field.
MAX_NUMBERS = 4096
#: Bytes of a name.
MAX_TEXT = 4096

#: Field number: name and kind of value. Kinds are ``"int"`` (a signed integer), ``"float"`` (its
#: four bytes), ``"text"``, ``"bytes"``, ``"message"`` and ``"packed"`` (views); ``*`` marks a
#: repeated field (of integers, texts or messages).
Schema = dict[int, tuple[str, str]]

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # wire types of protobuf
_WIRE_TYPES = {"int": _VARINT, "float": _FIXED32}  # every other kind: _LENGTH


class WireReader:
    """Reads the messages of one file; counts the fields, which are limited."""

    def __init__(self) -> None:
        self.n_fields = 0

    def message(self, view: memoryview, schema: Schema, what: str) -> dict[str, Any]:
        """Read one level of a message."""
        found: dict[str, Any] = {}
        for number, wire_type, value, _, _ in self.fields(view, what):
            if number not in schema:
                raise ArtifactError(
                    f"{what} has a field of number {number}, which an artifact has no use for."
                )
            name, kind = schema[number]
            is_repeated, kind = kind.endswith("*"), kind.rstrip("*")
            expected = _WIRE_TYPES.get(kind, _LENGTH)
            if is_repeated and wire_type == _LENGTH != expected:
                values = self.integers(value, f"{what}.{name}")
            elif wire_type != expected:
                raise ArtifactError(f"{what}.{name} has the wire type {wire_type}, not {expected}.")
            else:
                values = [value]
            if is_repeated:
                found.setdefault(name, []).extend(values)
                if expected != _LENGTH and len(found[name]) > MAX_NUMBERS:
                    raise ArtifactError(f"{what}.{name} has more than {MAX_NUMBERS} numbers.")
            elif name in found:
                raise ArtifactError(f"{what}.{name} is there twice.")
            else:
                found[name] = value
        return found

    def fields(self, view: memoryview, what: str) -> Iterator[tuple[int, int, Any, int, int]]:
        """Yield number, wire type, value, start and stop of each field of a message."""
        at, end = 0, len(view)
        while at < end:
            self.n_fields += 1
            if self.n_fields > MAX_FIELDS:
                raise ArtifactError(f"the file has more than {MAX_FIELDS} fields.")
            start = at
            tag, at = _varint(view, at, what)
            number, wire_type = tag >> 3, tag & 7
            if not 0 < number < 2**29:
                raise ArtifactError(f"{what} has a field of number {number}: damaged bytes.")
            if wire_type == _VARINT:
                value, at = _varint(view, at, what)
                yield number, wire_type, _signed(value), start, at
                continue
            if wire_type == _LENGTH:
                length, at = _varint(view, at, what)
            elif wire_type in (_FIXED32, _FIXED64):
                length = 4 if wire_type == _FIXED32 else 8
            else:
                raise ArtifactError(f"{what} has a field of wire type {wire_type}: damaged bytes.")
            if length > end - at:
                raise ArtifactError(
                    f"{what} is cut off: field {number} needs {length} bytes and {end - at} are "
                    "left."
                )
            at += length
            yield number, wire_type, view[at - length : at], start, at

    def integers(self, view: memoryview, what: str) -> list[int]:
        """Read a packed list of a few integers."""
        numbers: list[int] = []
        at = 0
        while at < len(view):
            if len(numbers) >= MAX_NUMBERS:
                raise ArtifactError(f"{what} has more than {MAX_NUMBERS} numbers: use raw_data.")
            number, at = _varint(view, at, what)
            numbers.append(_signed(number))
        return numbers


def text(message: dict[str, Any], name: str, what: str, limit: int = MAX_TEXT) -> str:
    """Return a field of text, empty where the field is absent."""
    view = message.get(name, b"")
    if len(view) > limit:
        raise ArtifactError(f"{what}.{name} has {len(view)} bytes, more than {limit}.")
    try:
        return str(view, "utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{what}.{name} is not UTF-8: {error.reason}.") from None


def encode_bytes(number: int, payload: bytes) -> bytes:
    """Encode a field of text, bytes or a message; `number` is below 16."""
    return encode_header(number, len(payload)) + payload


def encode_header(number: int, length: int) -> bytes:
    """Encode the header of a field of `length` bytes; `number` is below 16."""
    encoded = bytearray([number << 3 | _LENGTH])
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)


def _varint(view: memoryview, at: int, what: str) -> tuple[int, int]:
    """Read seven bits from each byte, the lowest first, up to the first byte below 128."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise ArtifactError(f"{what} is cut off in the middle of a number.")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, at
    raise ArtifactError(f"{what} has a number of more than 64 bits: damaged bytes.")


def _signed(value: int) -> int:
    return value - (value >> 63 << 64)
