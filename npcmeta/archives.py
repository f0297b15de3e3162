"""Zip archives that may come from anywhere, opened without believing how many files they say that they hold."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from npcmeta.files import check_ends

UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, struct.error)
"""What a damaged archive may raise while it is read, beside OSError."""
ENTRY_BYTES = 256
"""Of the directory, for each file: twice what any file of ours takes."""


@contextmanager
def opened(path: Path, most: int) -> Iterator[zipfile.ZipFile]:
    """A zip archive of at most `most` files.

    Raises:
        zipfile.BadZipFile: If it lists more than that.
        OSError: If it cannot be read; a damaged one raises any of `UNREADABLE`.
    """
    check_ends(path)
    with path.open("rb", buffering=0) as raw:
        reader = _Reader(raw)
        reader.most = most * ENTRY_BYTES
        with zipfile.ZipFile(reader) as archive:
            reader.most = None
            if (count := len(archive.infolist())) > most:
                raise zipfile.BadZipFile(f"it lists {count:,} files, expected at most {most:,}")
            yield archive


class _Reader(io.BufferedReader):
    """Reads no directory that is too long: `zipfile` asks for all of it, and makes an object of every entry."""

    most: int | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes; raises BadZipFile if more are wanted than `most`."""
        if self.most is not None and size is not None and size > self.most:
            raise zipfile.BadZipFile(f"its directory takes {size:,} bytes, expected at most {self.most:,}")
        return super().read(size)
