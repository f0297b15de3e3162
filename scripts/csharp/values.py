"""How each kind of value is named, written and read in C#."""

from __future__ import annotations

from typing import NamedTuple

from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Wire types."""


class Value(NamedTuple):
    """One kind of value. {0} stands for where it is kept."""

    name: str  # the C# type
    wire: int
    default: str
    present: str  # whether it differs from the default, which proto3 does not send
    write: str
    read: str

    @property
    def is_reference(self) -> bool:
        """Whether null can stand for "not there"."""
        return self.wire == LENGTH

    @property
    def packs(self) -> bool:
        """Whether repeated values are sent in one piece."""
        return self.wire != LENGTH


def _scalar(name: str, wire: int, method: str, default: str = "0", present: str = "{0} != 0") -> Value:
    return Value(name, wire, default, present, f"writer.Write{method}({{0}})", f"reader.Read{method}()")


SCALARS = {
    Field.TYPE_BOOL: _scalar("bool", VARINT, "Bool", "false", "{0}"),
    Field.TYPE_INT32: _scalar("int", VARINT, "Int32"),
    Field.TYPE_INT64: _scalar("long", VARINT, "Int64"),
    Field.TYPE_UINT32: _scalar("uint", VARINT, "UInt32"),
    Field.TYPE_UINT64: _scalar("ulong", VARINT, "UInt64"),
    Field.TYPE_FLOAT: _scalar("float", FIXED32, "Float", "0f", "WireWriter.IsPresent({0})"),
    Field.TYPE_DOUBLE: _scalar("double", FIXED64, "Double", "0d", "WireWriter.IsPresent({0})"),
    Field.TYPE_STRING: _scalar("string", LENGTH, "String", '""', "!string.IsNullOrEmpty({0})"),
    Field.TYPE_BYTES: _scalar("byte[]", LENGTH, "Bytes", "WireWriter.NoBytes", "{0} != null && {0}.Length > 0"),
}


def value_of(field: Field) -> Value:
    """The kind of value that a field holds, or each element of it.

    Raises:
        SystemExit: If the kind is not known here.
    """
    if field.type == Field.TYPE_MESSAGE:
        return _message(type_name(field.type_name))
    if field.type == Field.TYPE_ENUM:
        return _enum(type_name(field.type_name))
    if field.type not in SCALARS:
        kind = Field.Type.Name(field.type).removeprefix("TYPE_").lower()
        raise SystemExit(f"field {field.name} is a {kind}, which is not generated; add it to SCALARS in {__file__}")
    return SCALARS[field.type]


def type_name(name: str) -> str:
    """`.npcmeta.v1.Tensor` is `Tensor`; what is Google's lives in `Npcmeta.WellKnown`."""
    short = name.rsplit(".", 1)[-1]
    return f"WellKnown.{short}" if name.startswith(".google.") else short


def pascal(name: str) -> str:
    """`support_nll` becomes `SupportNll`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _message(name: str) -> Value:
    read = f"reader.ReadMessage({{0}} ?? new {name}())"
    return Value(name, LENGTH, "null", "{0} != null", "writer.WriteMessage({0})", read)


def _enum(name: str) -> Value:
    return Value(name, VARINT, "0", "{0} != 0", "writer.WriteInt32((int){0})", f"({name})reader.ReadInt32()")
