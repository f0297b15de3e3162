"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Lets `write` fill a draft in the same folder, then gives it its name; nothing is left if it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile's, which nobody else may read.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with draft.open("xb") as stream:
            write(stream)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
