"""Reading an ONNX file's structure without its weights, within fixed bounds of time and memory.

A file is untrusted, and protobuf's own parser makes an object for every field: a megabyte of empty nodes becomes a
hundred, and a tensor is copied whole. Here every field is walked once in the mapped file; payloads of tensors are
skipped and only their sizes kept, and a file with more structure than any game has is refused on the way. The schema
is that of the `onnx` package.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor

MAX_FIELDS = 150_000
"""Fields in a file; a node has about fifteen."""
MAX_KEPT_BYTES = 32 << 20
"""Bytes of names and small constants."""
MAX_DEPTH = 96
"""Messages within messages, as deep as protobuf's own readers go; a subgraph in a subgraph is three deeper."""
MAX_NAME_BYTES = 4096
MAX_PAYLOAD_BYTES = 8192
"""Tensors up to this size are kept: shapes, axes and the scalars that engines read."""
MASK = (1 << 64) - 1

Fields = dict[str, list[Any]]
"""A message: its fields by name, each with all its values."""


class WireError(ValueError):
    """The bytes are not an ONNX file, or hold more than any game's file does."""


class Payload(NamedTuple):
    """The numbers of a tensor or a list, as they stand in the file."""

    size: int  # bytes
    data: bytes | None  # none if there are more than MAX_PAYLOAD_BYTES


class Field(NamedTuple):
    """One field of the schema."""

    name: str
    kind: str  # varint, fixed64, fixed32, text, bytes or message
    signed: bool
    repeated: bool
    message: Descriptor | None


KINDS = {
    FieldDescriptor.TYPE_MESSAGE: "message",
    FieldDescriptor.TYPE_STRING: "text",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_FLOAT: "fixed32",
    FieldDescriptor.TYPE_DOUBLE: "fixed64",
}
WIRE_TYPES = {"varint": 0, "fixed64": 1, "text": 2, "bytes": 2, "message": 2, "fixed32": 5}
FORMATS = {"fixed64": "<d", "fixed32": "<f"}
UNREAD = ("doc_string",)
"""Texts that no engine reads; exporters put whole stack traces there."""
CUT = ("value",)
"""Texts that may be long, of which the beginning is enough: the values of metadata."""


def decode(data: Sequence[int], descriptor: Any) -> Fields:
    """The message in `data`, without the payloads of its tensors.

    Args:
        data: The content of the file; bytes or a memory map.
        descriptor: What message it is, as protobuf describes it.

    Raises:
        WireError: If it is damaged, or larger in structure than the limits above.
    """
    return _Decoder(data).message(0, len(data), descriptor, 0)


@functools.cache
def _schema(descriptor: Descriptor) -> dict[int, Field]:
    return {
        number: Field(
            field.name,
            KINDS.get(field.type, "varint"),
            field.type != FieldDescriptor.TYPE_UINT64,
            field.is_repeated,
            field.message_type,
        )
        for number, field in descriptor.fields_by_number.items()
    }


class _Decoder:
    """One walk over a file; counts what it has kept."""

    def __init__(self, data: Sequence[int]) -> None:
        self.data = data
        self.fields = 0
        self.kept = 0

    def message(self, at: int, end: int, descriptor: Descriptor, depth: int) -> Fields:
        if depth > MAX_DEPTH:
            raise WireError(f"it is nested more than {MAX_DEPTH} messages deep")
        schema, found = _schema(descriptor), dict[str, list[Any]]()
        while at < end:
            key, at = self.varint(at, end)
            wire_type, field = key & 7, schema.get(key >> 3)
            self.fields += 1
            if self.fields > MAX_FIELDS:
                raise WireError(f"it has more than {MAX_FIELDS:,} fields, which is more than any game's network")
            start, stop, at = self.extent(at, end, wire_type)
            if field is None or field.name in UNREAD:
                continue
            if field.message is not None and not field.repeated and field.name in found:
                # Other readers merge the two, and would see another model than the checks do.
                raise WireError(f"it holds the field {field.name} twice, at byte {start:,}")
            value = self.value(field, wire_type, start, stop, depth)
            found.setdefault(field.name, []).append(value)
        return found

    def extent(self, at: int, end: int, wire_type: int) -> tuple[int, int, int]:
        """Where a field's value begins and ends, and where the next field begins."""
        if wire_type == 0:
            _, stop = self.varint(at, end)
        elif wire_type == 2:
            size, at = self.varint(at, end)
            stop = at + size
        elif wire_type in (1, 5):
            stop = at + (8 if wire_type == 1 else 4)
        else:
            raise WireError(f"byte {at:,} begins no field of a protobuf message")
        if stop > end:
            raise WireError(f"it is cut short or damaged: a field at byte {at:,} goes on beyond its end")
        return at, stop, stop

    def value(self, field: Field, wire_type: int, start: int, stop: int, depth: int) -> Any:
        if wire_type == 2 and (field.kind == "bytes" or (field.repeated and field.kind not in ("text", "message"))):
            return self.payload(start, stop)
        if WIRE_TYPES[field.kind] != wire_type:
            raise WireError(f"the field {field.name} at byte {start:,} is damaged")
        if field.message is not None:
            return self.message(start, stop, field.message, depth + 1)
        if field.kind == "text":
            return self.text(field.name, start, stop)
        if field.kind == "varint":
            value, _ = self.varint(start, stop)
            return value - (1 << 64) if field.signed and value >> 63 else value
        return struct.unpack(FORMATS[field.kind], bytes(self.data[start:stop]))[0]

    def payload(self, start: int, stop: int) -> Payload:
        size = stop - start
        return Payload(size, self.keep(start, stop) if size <= MAX_PAYLOAD_BYTES else None)

    def text(self, name: str, start: int, stop: int) -> str:
        if stop - start > MAX_NAME_BYTES:
            if name not in CUT:
                raise WireError(f"the {name} at byte {start:,} has {stop - start:,} bytes, at most {MAX_NAME_BYTES:,}")
            stop = start + MAX_NAME_BYTES
        return self.keep(start, stop).decode(errors="replace")

    def keep(self, start: int, stop: int) -> bytes:
        self.kept += stop - start
        if self.kept > MAX_KEPT_BYTES:
            raise WireError(f"its names and small constants take more than {MAX_KEPT_BYTES:,} bytes")
        return bytes(self.data[start:stop])

    def varint(self, at: int, end: int) -> tuple[int, int]:
        if at < end and self.data[at] < 128:  # nearly always
            return self.data[at], at + 1
        value = shift = 0
        for place in range(at, min(at + 10, end)):
            byte = self.data[place]
            value |= (byte & 127) << shift
            if byte < 128:
                return value & MASK, place + 1
            shift += 7
        raise WireError(f"it is cut short or damaged: a number at byte {at:,} does not end")


def varints(data: bytes, *, signed: bool) -> list[int]:
    """The numbers of a packed list."""
    decoder, at, found = _Decoder(data), 0, []
    while at < len(data):
        value, at = decoder.varint(at, len(data))
        found.append(value - (1 << 64) if signed and value >> 63 else value)
    return found
