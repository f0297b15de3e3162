"""Files of the operator that are read again when they change."""

from __future__ import annotations

from pathlib import Path


def stamp(path: Path) -> tuple[int, ...]:
    """What tells a file from what it was; nothing if it is not there. Taken before reading, no change is missed."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino
