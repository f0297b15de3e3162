"""The C# of one field: its property, how it is written, and how it is read. One function for each form of field."""

from __future__ import annotations

from typing import NamedTuple

from google.protobuf.descriptor_pb2 import DescriptorProto
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

from csharp.values import LENGTH, Value, pascal, value_of

Lines = list[str]


class Member(NamedTuple):
    """Lines of C# for the three places where a field appears in its class."""

    declare: Lines
    write: Lines
    read: Lines


def member(field: Field, owner: DescriptorProto) -> Member:
    """The C# of a field of the message `owner`."""
    name = property_name(field, owner.name)
    entries = [kind for kind in owner.nested_type if field.type_name.endswith(f".{owner.name}.{kind.name}")]
    if entries:
        return mapped(field, name, entries[0])
    if field.label == Field.LABEL_REPEATED:
        return repeated(field, name)
    if field.HasField("oneof_index") and not field.proto3_optional:
        return choice(field, name, owner.oneof_decl[field.oneof_index].name)
    return singular(field, name)


def property_name(field: Field, owner: str) -> str:
    """The property of a field. C# allows no member of its class's name, so that one gets an underscore."""
    name = pascal(field.name)
    return name + "_" if name == owner else name


def singular(field: Field, name: str) -> Member:
    """A field that is there once; with `optional`, null says that it is not there."""
    value = value_of(field)
    optional = field.proto3_optional
    kind = value.name + ("?" if optional and not value.is_reference else "")
    start = "" if optional or value.default == "null" else f" = {value.default};"
    present = f"{name} != null" if optional else value.present.format(name)
    kept = f"{name}.Value" if optional and not value.is_reference else name
    declare = [f"public {kind} {name} {{ get; set; }}{start if value.is_reference else ''}"]
    return Member(declare, _when(present, _send(field, value, kept)), _case(field, value.wire, _take(value, name)))


def choice(field: Field, name: str, oneof: str) -> Member:
    """One choice of a oneof: setting it takes back the others."""
    value, case = value_of(field), f"{pascal(oneof)}OneofCase.{pascal(field.name)}"
    kind = value.name + ("" if value.is_reference else "?")
    kept = name if value.is_reference else f"{name}.Value"
    declare = [
        f"public {kind} {name}",
        "{",
        f"    get {{ return {oneof}Case == {case} ? ({kind}){oneof} : null; }}",
        f"    set {{ {oneof} = value; {oneof}Case = value == null ? {pascal(oneof)}OneofCase.None : {case}; }}",
        "}",
    ]
    return Member(declare, _when(f"{name} != null", _send(field, value, kept)),
                  _case(field, value.wire, _take(value, name)))  # fmt: skip


def repeated(field: Field, name: str) -> Member:
    """A list. Numbers are sent in one piece, and read in one piece or one by one."""
    value = value_of(field)
    declare = [f"public List<{value.name}> {name} {{ get; }} = new List<{value.name}>();"]
    add = f"{name}.Add({value.read.replace('{0} ?? ', '')});"
    each = f"foreach ({value.name} item in {name})"
    if not value.packs:
        return Member(declare, [each, "{", *_indent(_send(field, value, "item")), "}"], _case(field, LENGTH, [add]))
    pieces = [f"writer.WriteTag({field.number}, {LENGTH});", "int start = writer.Begin();"]
    pieces += [f"{each} {value.write.format('item')};", "writer.End(start);"]
    whole = ["int outer = reader.Begin();", f"while (!reader.AtEnd) {add}", "reader.End(outer);"]
    read = _case(field, LENGTH, ["{", *_indent(whole), "}"]) + _case(field, value.wire, [add])
    return Member(declare, _when(f"{name}.Count > 0", pieces), read)


def mapped(field: Field, name: str, entry: DescriptorProto) -> Member:
    """A map, which the wire holds as a list of entries with a key and a value."""
    key, value = (value_of(part).name for part in entry.field)
    declare = [f"public Dictionary<{key}, {value}> {name} {{ get; }} = new Dictionary<{key}, {value}>();"]
    pair = f"new {entry.name} {{ Key = pair.Key, Value = pair.Value }}"
    write = [f"foreach (KeyValuePair<{key}, {value}> pair in {name})", "{"]
    write += [*_indent([f"writer.WriteTag({field.number}, {LENGTH});", f"writer.WriteMessage({pair});"]), "}"]
    take = [f"{entry.name} entry = reader.ReadMessage(new {entry.name}());", f"{name}[entry.Key] = entry.Value;"]
    return Member(declare, write, _case(field, LENGTH, ["{", *_indent(take), "}"]))


def _take(value: Value, name: str) -> Lines:
    return [f"{name} = {value.read.format(name)};"]


def _send(field: Field, value: Value, kept: str) -> Lines:
    return [f"writer.WriteTag({field.number}, {value.wire});", f"{value.write.format(kept)};"]


def _when(condition: str, lines: Lines) -> Lines:
    return [f"if ({condition})", "{", *_indent(lines), "}"]


def _case(field: Field, wire: int, lines: Lines) -> Lines:
    return [f"case {field.number << 3 | wire}:", *_indent([*lines, "break;"])]


def _indent(lines: Lines) -> Lines:
    return ["    " + line for line in lines]
