"""Files that appear under their name only when they are complete."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import pytest

from npcmeta.files import write_whole


def test_a_file_that_is_written_anew_is_never_seen_half(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "clip.npz"
    write_whole(path, lambda stream: stream.write(b"old"))

    def write(stream: IO[bytes]) -> None:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"

    write_whole(path, write)
    assert path.read_bytes() == b"new"


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "clip.npz"
    path.write_bytes(b"old")

    def write(stream: IO[bytes]) -> None:
        stream.write(b"ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, write)
    assert [file.name for file in tmp_path.iterdir()] == ["clip.npz"]
    assert path.read_bytes() == b"old"


def test_others_may_read_what_they_could_read_of_any_file(tmp_path: Path) -> None:
    (tmp_path / "usual").write_bytes(b"")
    write_whole(tmp_path / "ours", lambda stream: stream.write(b""))
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode
