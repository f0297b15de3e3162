"""Files that may be anything when they are read, and appear under their name only when they are complete."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from npcmeta.archetype import ArchetypeFileError, load_archetype
from npcmeta.files import read_up_to, write_whole
from npcmeta.recordings.demo import read_demo
from npcmeta.recordings.npz import read_npz
from npcmeta.recordings.recording import RecordingError
from npcmeta.tasks.omniglot.drawings import DrawingsError, read_drawings


def test_no_more_of_a_file_is_read_than_shows_that_it_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "clip").write_bytes(b"12345")
    assert read_up_to(tmp_path / "clip", 5) == b"12345"
    assert read_up_to(tmp_path / "clip", 3) == b"1234"
    with pytest.raises(IsADirectoryError):
        read_up_to(tmp_path, 5)


READERS = {load_archetype: ArchetypeFileError, read_npz: RecordingError, read_demo: RecordingError,
           read_drawings: DrawingsError}  # fmt: skip


@pytest.mark.parametrize("read", READERS)
def test_nobody_waits_for_a_pipe(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(READERS[read], match="a pipe or a device, and no file"):
        read(tmp_path / "pipe")


def test_a_file_that_is_written_anew_is_never_seen_half(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "clip.npz"
    write_whole(path, lambda stream: stream.write(b"old"))

    def write(stream: IO[bytes]) -> None:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"

    write_whole(path, write)
    assert path.read_bytes() == b"new"


def test_a_file_does_not_take_the_place_of_a_device_or_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="a pipe or a device, and no file"):
        write_whole(pipe, lambda stream: stream.write(b"new"))
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


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
