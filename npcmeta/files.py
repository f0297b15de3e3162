"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO


def write_whole(path: Path, write: Callable[[IO[bytes]], object], *, durable: bool = False) -> None:
    """Lets `write` fill a draft in the same folder, then gives it its name; nothing is left if it fails.

    Args:
        path: The file; its folder is made if there is none.
        write: Is given a stream to write to.
        durable: Whether the draft has to be on the disk first, so that not even a power cut costs what was there. For
            what cannot be made again; it takes some milliseconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
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
