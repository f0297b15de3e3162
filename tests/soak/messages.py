"""Messages that nobody should send: of the right kind with odd content, spoilt ones, and garbage."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from npcmeta_server import tensors
from npcmeta_server.gen.npcmeta.v1 import adapt_pb2, tensor_pb2
from tests import toys
from tests.server.client import clip, observations

NUMBERS = (0, 1, 2, 3, 5, 63, 64, 255, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 62, (1 << 63) - 1)
FLOATS = (0.0, -0.0, 1.0, 0.5, -1.0, 1e-40, 1e38, -1e38, float("inf"), float("-inf"), float("nan"))
TEXTS = ("", "x", "..", "/", "npcs/", "npcs/../x", "a" * 64, "%00", "\u0000", "\u202e", "'; drop table npcs; --",
         "archetypes/guard", "archetypes/nobody", "npcs/nobody")  # fmt: skip
MESSAGES = {
    "npcmeta.v1.Examples": lambda chance: clip(toys.spec("mixed"), chance.randint(1, 8), chance.randrange(100)),
    "npcmeta.v1.Tensor": lambda chance: tensors.write(observations(chance.randint(1, 4))),
}
"""How to make something sensible where random fields would never be."""


class Source:
    """Random messages; the same for the same seed."""

    def __init__(self, seed: int, names: list[str]) -> None:
        """Some names in them are those of things that exist."""
        self.chance, self._names = random.Random(seed), names

    def message(self, kind: type[Message], spoilt: float = 0.4) -> bytes:
        """The bytes of a message of this kind, or for that share of them of what was one, or is none at all."""
        chance = self.chance.random()
        if chance < spoilt / 4:
            return self.chance.randbytes(self.chance.randint(0, 300))
        data = self._filled(kind(), depth=0).SerializeToString()
        return self._spoilt(data) if chance < spoilt else data

    def stream(self, kind: type[Message], most: int) -> Iterator[bytes]:
        """Messages of which a stream can bear some: an adaptation mostly begins as it should."""
        if kind is adapt_pb2.AdaptRequest and self.chance.random() < 0.9:
            setup = adapt_pb2.AdaptSetup(npc=self.chance.choice(self._names))
            yield adapt_pb2.AdaptRequest(setup=setup).SerializeToString()
        for _ in range(self.chance.randint(1, most)):
            yield self.message(kind, spoilt=0.03)

    def _filled(self, message: Message, depth: int) -> Message:
        for field in message.DESCRIPTOR.fields:
            if depth < 6 and self.chance.random() < 0.6:
                self._fill(message, field, depth)
        return message

    def _fill(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if field.is_repeated:
                for _ in range(self.chance.randint(0, 3)):
                    self._make(getattr(message, field.name).add(), depth)
            else:
                getattr(message, field.name).SetInParent()
                self._make(getattr(message, field.name), depth)
        elif field.is_repeated:
            getattr(message, field.name).extend(self._value(field) for _ in range(self.chance.randint(0, 4)))
        else:
            setattr(message, field.name, self._value(field))

    def _make(self, message: Message, depth: int) -> None:
        sensible = MESSAGES.get(message.DESCRIPTOR.full_name)
        if sensible is not None and self.chance.random() < 0.6:
            message.CopyFrom(sensible(self.chance))
            if isinstance(message, tensor_pb2.Tensor) and self.chance.random() < 0.3:
                self._bend(message)
        else:
            self._filled(message, depth + 1)

    def _bend(self, tensor: tensor_pb2.Tensor) -> None:
        """Puts numbers into a tensor that should not be there."""
        values = np.frombuffer(tensor.data, np.float32).copy()
        values[self.chance.randrange(values.size)] = self.chance.choice(FLOATS)
        tensor.data = values.tobytes()

    def _value(self, field: FieldDescriptor) -> Any:
        kind = field.cpp_type
        if kind == FieldDescriptor.CPPTYPE_STRING:
            if field.type == FieldDescriptor.TYPE_BYTES:
                return self.chance.randbytes(self.chance.choice((0, 1, 4, 12, 48, 200)))
            return self.chance.choice(self._names if self.chance.random() < 0.7 else TEXTS)
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return self.chance.random() < 0.5
        if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
            return self.chance.choice(FLOATS)
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            return self.chance.randint(0, 9)
        number = self.chance.choice(NUMBERS)
        if kind in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64):
            return number % (1 << (32 if kind == FieldDescriptor.CPPTYPE_UINT32 else 64))
        signed = number if self.chance.random() < 0.7 else -number
        return max(-(1 << 31), min((1 << 31) - 1, signed)) if kind == FieldDescriptor.CPPTYPE_INT32 else signed

    def _spoilt(self, data: bytes) -> bytes:
        spoilt = bytearray(data)
        for _ in range(self.chance.randint(1, 4)):
            if not spoilt:
                break
            at = self.chance.randrange(len(spoilt))
            match self.chance.randrange(4):
                case 0:
                    spoilt[at] = self.chance.randrange(256)
                case 1:
                    del spoilt[at:]
                case 2:
                    del spoilt[at]
                case _:
                    spoilt[at:at] = self.chance.randbytes(self.chance.randint(1, 9))
        return bytes(spoilt)
