"""Messages in a .demo file, each behind its length as a varint; no length is believed before it is checked."""

from __future__ import annotations

import os
from pathlib import Path

from google.protobuf.message import DecodeError, Message

from npcmeta.recordings.recording import MAX_BYTES, RecordingError

MAX_MESSAGE = 1 << 20
BODY = 33
"""Offset of the brain parameters; the metadata before them is padded."""


def read_bytes(path: Path) -> bytes:
    """The file's bytes; RecordingError if there are too many, or none can be had."""
    try:
        with path.open("rb") as stream:
            # Never more than the file has: read() takes memory for all that it is asked for.
            data = stream.read(min(os.fstat(stream.fileno()).st_size, MAX_BYTES) + 1)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise RecordingError(f"{path}: larger than {MAX_BYTES:,} bytes; record shorter files, they are read in order")
    return data


def read_message(data: bytes, position: int, message: Message, what: str, source: str) -> tuple[Message, int]:
    """Parses the length at `position` and the message behind it into `message`; returns it and the next position."""
    start, size, shift = position, 0, 0
    while True:
        if position >= len(data):
            raise RecordingError(
                f"{source}: the file ends at byte {len(data)}, where {what} should begin; is it cut short?"
            )
        byte = data[position]
        position += 1
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 28:
            raise RecordingError(f"{source}: byte {start}: {what} has no valid length; is it an ML-Agents .demo?")
    if size > MAX_MESSAGE:
        raise RecordingError(f"{source}: byte {start}: {what} has {size:,} bytes; expected at most {MAX_MESSAGE:,}")
    if position + size > len(data):
        raise RecordingError(
            f"{source}: byte {start}: {what} has {size} bytes, but the file ends after {len(data) - position} of them; "
            "is it cut short?"
        )
    try:
        message.ParseFromString(data[position : position + size])
    except DecodeError as error:
        raise RecordingError(
            f"{source}: byte {start}: {what} cannot be decoded ({error}); is this an ML-Agents .demo file?"
        ) from None
    return message, position + size


def framed(message: Message) -> bytes:
    """The message behind its length as a varint."""
    body = message.SerializeToString()
    size, length = len(body), bytearray()
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(length) + bytes([size]) + body
