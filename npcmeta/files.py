"""Files read without believing their size, and written so that they appear only when they are complete."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO


def check_ends(path: Path) -> None:
    """Raises OSError if there is nothing, or a pipe or a device: to open or to read one may take for ever."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "a pipe or a device, and no file", str(path))


def read_up_to(path: Path, most: int) -> bytes:
    """The content of a file; of one with more than `most` bytes, so many and one more.

    Raises:
        OSError: If it cannot be read, or is no file.
    """
    check_ends(path)
    with path.open("rb") as stream:
        # Never more than the file has: read() takes memory for all that it is asked for.
        return stream.read(min(os.fstat(stream.fileno()).st_size, most) + 1)


def write_whole(path: Path, write: Callable[[IO[bytes]], object], *, durable: bool = False) -> None:
    """Lets `write` fill a draft in the same folder, then gives it its name; nothing is left if it fails.

    Args:
        path: The file; its folder is made if there is none.
        write: Is given a stream to write to.
        durable: Whether the draft has to be on the disk first, so that not even a power cut costs what was there. For
            what cannot be made again; it takes some milliseconds.

    Raises:
        OSError: If it cannot be written, or a pipe or a device has that name: a file would take its place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        check_ends(path)
    # Not tempfile's, which nobody else may read.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with draft.open("xb") as stream:
            write(stream)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Writes a file of this content, as `write_whole` does."""
    write_whole(path, lambda stream: stream.write(data), durable=durable)
