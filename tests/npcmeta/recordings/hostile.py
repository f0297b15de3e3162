"""What untrusted files are allowed to do: be refused with a RecordingError, soon, and without taking memory."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

from npcmeta.recordings.recording import Recording, RecordingError, check


def outcome(read: Callable[[Path], Recording], path: Path, data: bytes) -> Recording | str:
    """A sound recording, or the message of the RecordingError; anything else fails the test."""
    path.unlink(missing_ok=True)  # some file systems wait for the disk where a file is overwritten
    path.write_bytes(data)
    try:
        return check(read(path), str(path))
    except RecordingError as error:
        message = str(error)
    assert str(path) in message
    assert len(message) < 2000
    return message


def peak_bytes(work: Callable[[], object]) -> int:
    """The most memory that `work` held at once."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def flipped(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Copies of the data with one to four bytes changed."""
    draw = random.Random(seed)
    for _ in range(count):
        copy = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            copy[draw.randrange(len(copy))] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)])
        yield bytes(copy)


def garbage(count: int, seed: int) -> Iterator[bytes]:
    """Random bytes of random lengths."""
    draw = random.Random(seed)
    for _ in range(count):
        yield draw.randbytes(draw.randrange(200))
