"""Messages in a .demo file, each behind its length as a varint; no length is believed before it is checked."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.message import DecodeError, Message

from npcmeta import files
from npcmeta.recordings.recording import MAX_BYTES, RecordingError

MAX_MESSAGE = 1 << 20
MAX_LENGTH_BYTES = 5
BODY = 33
"""Offset of the brain parameters; the metadata before them is padded."""


def read_bytes(path: Path) -> bytes:
    """The file's bytes; RecordingError if there are too many, or none can be had."""
    try:
        data = files.read_up_to(path, MAX_BYTES)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_BYTES:
        raise RecordingError(f"{path}: larger than {MAX_BYTES:,} bytes; record shorter files, they are read in order")
    return data


def read_message(data: bytes, position: int, message: Message, what: str, source: str) -> tuple[Message, int]:
    """Parses the length at `position` and the message behind it into `message`; returns it and the next position."""
    size, body = _length(data, position, what, source)
    if size > MAX_MESSAGE:
        raise RecordingError(f"{source}: byte {position}: {what} has {size:,} bytes; expected at most {MAX_MESSAGE:,}")
    if body + size > len(data):
        raise RecordingError(
            f"{source}: byte {position}: {what} has {size} bytes, but the file ends after {len(data) - body} of them; "
            "is it cut short?"
        )
    try:
        message.ParseFromString(data[body : body + size])
    except DecodeError as error:
        raise RecordingError(
            f"{source}: byte {position}: {what} cannot be decoded ({error}); is this an ML-Agents .demo file?"
        ) from None
    return message, body + size


def _length(data: bytes, start: int, what: str, source: str) -> tuple[int, int]:
    """The varint at `start`, and where the message behind it begins."""
    size = 0
    for place in range(MAX_LENGTH_BYTES):
        if start + place >= len(data):
            raise RecordingError(
                f"{source}: the file ends at byte {len(data)}, where {what} should begin; is it cut short?"
            )
        byte = data[start + place]
        size |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return size, start + place + 1
    raise RecordingError(f"{source}: byte {start}: {what} has no valid length; is it an ML-Agents .demo?")


def framed(message: Message) -> bytes:
    """The message behind its length as a varint."""
    body = message.SerializeToString()
    size, length = len(body), bytearray()
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes(length) + bytes([size]) + body
