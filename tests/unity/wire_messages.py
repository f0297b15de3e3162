"""Random messages of every kind on the wire, and records of them for the C# program."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable
from pathlib import Path

from google.protobuf import any_pb2, empty_pb2, timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from npcmeta_server.gen.npcmeta.v1 import (
    act_pb2,
    adapt_pb2,
    archetypes_pb2,
    assets_pb2,
    npcs_pb2,
    resources_pb2,
    tensor_pb2,
)

OURS = (act_pb2, adapt_pb2, archetypes_pb2, assets_pb2, npcs_pb2, resources_pb2, tensor_pb2)
KINDS: dict[str, type[Message]] = {
    f"Npcmeta.V1.{name}": getattr(module, name) for module in OURS for name in module.DESCRIPTOR.message_types_by_name
} | {
    "Npcmeta.WellKnown.Any": any_pb2.Any,
    "Npcmeta.WellKnown.Empty": empty_pb2.Empty,
    "Npcmeta.WellKnown.ErrorInfo": error_details_pb2.ErrorInfo,
    "Npcmeta.WellKnown.Status": status_pb2.Status,
    "Npcmeta.WellKnown.Timestamp": timestamp_pb2.Timestamp,
}
EDGES: dict[int, tuple[object, ...]] = {
    FieldDescriptor.CPPTYPE_INT32: (0, 1, -1, 127, 128, 2**31 - 1, -(2**31)),
    FieldDescriptor.CPPTYPE_UINT32: (0, 1, 127, 128, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (0, 1, -1, 2**35, 2**63 - 1, -(2**63)),
    FieldDescriptor.CPPTYPE_UINT64: (0, 1, 2**35, 2**64 - 1),
    FieldDescriptor.CPPTYPE_FLOAT: (0.0, -0.0, 1.5, -1e30, float("inf")),
    FieldDescriptor.CPPTYPE_DOUBLE: (0.0, -0.0, 1.5, -1e300, 5e-324, float("inf")),
    FieldDescriptor.CPPTYPE_BOOL: (False, True),
    FieldDescriptor.CPPTYPE_ENUM: (0, 1, 4, 77, -1),
}
TEXTS = ("", "a", "npcs/bob", "żółw 🐢 \x00", "x" * 127, "y" * 128, "z" * 20_000)

Record = tuple[str, bytes]
Answer = tuple[bool, bytes]


def random_message(kind: type[Message], chance: random.Random, depth: int = 9) -> Message:
    message = kind()
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.25 or (field.message_type is not None and depth == 0):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            values = field.message_type.fields_by_name["value"]
            getattr(message, field.name).update({chance.choice(TEXTS): _value(values, chance) for _ in range(3)})
        elif field.is_repeated:
            count = chance.choice((0, 1, 3, 200 if field.message_type is None else 2))
            if field.message_type is None:
                getattr(message, field.name).extend(_value(field, chance) for _ in range(count))
            else:
                items = (random_message(field.message_type._concrete_class, chance, depth - 1) for _ in range(count))
                getattr(message, field.name).extend(items)
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(random_message(field.message_type._concrete_class, chance, depth - 1))
        else:
            setattr(message, field.name, _value(field, chance))
    return message


def _value(field: FieldDescriptor, chance: random.Random) -> object:
    if field.cpp_type != FieldDescriptor.CPPTYPE_STRING:
        return chance.choice(EDGES[field.cpp_type])
    return (
        chance.choice(TEXTS)
        if field.type == FieldDescriptor.TYPE_STRING
        else chance.randbytes(chance.choice((0, 1, 300)))
    )


def write_records(path: Path, records: Iterable[Record]) -> None:
    parts = (part for name, data in records for part in (name.encode(), data))
    path.write_bytes(b"".join(struct.pack("<i", len(part)) + part for part in parts))


def read_answers(path: Path) -> list[Answer]:
    data, answers, at = path.read_bytes(), [], 0
    while at < len(data):
        refused, size = struct.unpack_from("<?i", data, at)
        answers.append((not refused, data[at + 5 : at + 5 + size]))
        at += 5 + size
    return answers
