"""Unity .demo files put together byte by byte, from the format's field numbers alone: none of our code is in it."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def single(field: int, value: float) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<f", value)


def block(field: int, body: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(body)) + body


def floats(field: int, values: Sequence[float]) -> bytes:
    return block(field, struct.pack(f"<{len(values)}f", *values))


def whole(field: int, values: Sequence[int]) -> bytes:
    return block(field, b"".join(map(varint, values)))


def framed(body: bytes) -> bytes:
    return varint(len(body)) + body


def sensor(values: Sequence[float], name: str = "eyes") -> bytes:
    """An uncompressed Observation."""
    return whole(1, [len(values)]) + number(2, 0) + block(4, floats(1, values)) + block(8, name.encode())


def image(name: str = "camera") -> bytes:
    """A PNG Observation."""
    return whole(1, [84, 84, 3]) + number(2, 1) + block(3, b"\x89PNG....") + block(8, name.encode())


def record(
    sensors: Sequence[bytes],
    *,
    discrete: Sequence[int] = (),
    continuous: Sequence[float] = (),
    old: Sequence[float] = (),
    reward: float = 0.0,
    done: bool = False,
    forbidden: Sequence[int] = (),
) -> bytes:
    """An AgentInfoActionPair; `old` is where version 0 put all actions, `forbidden` the mask as Unity writes it."""
    info = single(7, reward) + number(8, int(done)) + number(10, 1)
    info += whole(11, forbidden) if forbidden else b""
    info += b"".join(block(13, one) for one in sensors)
    action = floats(1, old) if old else b""
    action += floats(6, continuous) if continuous else b""
    action += whole(7, discrete) if discrete else b""
    return block(1, info) + block(2, action)


def meta(steps: int, episodes: int, *, version: int = 1, name: str = "guard", reward: float = 0.0) -> bytes:
    return number(1, version) + block(2, name.encode()) + number(3, steps) + number(4, episodes) + single(5, reward)


def brain(branches: Sequence[int] = (), continuous: int = 0) -> bytes:
    """BrainParameters with an ActionSpec, as since version 1."""
    spec = number(1, continuous) + number(2, len(branches)) + (whole(3, branches) if branches else b"")
    return block(7, b"Guard") + block(9, spec)


def old_brain(sizes: Sequence[int], *, continuous: bool) -> bytes:
    """BrainParameters of version 0."""
    return whole(3, sizes) + number(6, int(continuous)) + block(7, b"Guard")


def demo(records: Sequence[bytes], brain: bytes, *, header: bytes | None = None, trailer: bool = True) -> bytes:
    """A whole file: the metadata padded to byte 33, the rest behind it, and the copy of the metadata that ends it."""
    header = framed(meta(len(records), 2) if header is None else header)
    body = b"".join(framed(one) for one in (brain, *records))
    return header.ljust(33, b"\0") + body + (header if trailer else b"")


def two_episodes() -> bytes:
    """Observations 10, 11, 12 and 20, 21, answered with choices 1, 2 and 2: every action stands one record late."""
    return demo(
        [
            record([sensor([10.0])], discrete=[0], reward=0.0),
            record([sensor([11.0])], discrete=[1], reward=0.5),
            record([sensor([12.0])], discrete=[2], reward=1.0, done=True),
            record([sensor([20.0])], discrete=[0], reward=0.0),
            record([sensor([21.0])], discrete=[2], reward=-1.0, done=True),
        ],
        brain([3]),
        header=meta(5, 3, reward=1 / 6),
    )
