"""Files that a command writes at its end: whether it may is seen at its beginning, and not after hours of work."""

from __future__ import annotations

from pathlib import Path


def reserve(*paths: Path | None) -> None:
    """Makes the folders of files that will be written; raises OSError if one of them cannot be."""
    for path in filter(None, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        path.open("ab").close()
        if is_new:
            path.unlink()  # an empty one would look like a result
