"""Zip archives that say more than they may."""

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from npcmeta import archives
from npcmeta.recordings.npz import read_npz
from npcmeta.recordings.recording import RecordingError
from npcmeta.tasks.omniglot.drawings import DrawingsError, read_drawings

LIMITS = {read_npz: 64, read_drawings: 50_000}


def archive_of(count: int, path: Path) -> Path:
    """An archive that is all directory: `count` empty files of the name "a"."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, count * len(entry), 0, 0)
    path.write_bytes(count * entry + end)
    return path


def test_files_can_be_read_as_long_as_there_are_few(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "few.zip", "w") as archive:
        archive.writestr("large", bytes(1 << 20))
    with archives.opened(tmp_path / "few.zip", 1) as opened:
        assert opened.read("large") == bytes(1 << 20)
    with zipfile.ZipFile(tmp_path / "few.zip", "a") as archive:
        archive.writestr("other", b"")
    with (
        pytest.raises(zipfile.BadZipFile, match="it lists 2 files, expected at most 1"),
        archives.opened(tmp_path / "few.zip", 1),
    ):
        pass


@pytest.mark.parametrize("read", LIMITS)
def test_a_directory_without_end_is_not_read(
    read: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(zipfile.ZipInfo, "_decodeExtra", lambda *_: made.append(1))
    path = archive_of(2 * archives.ENTRY_BYTES * LIMITS[read] // 47, tmp_path / "endless")
    with pytest.raises((RecordingError, DrawingsError), match=r"its directory takes .* bytes, expected at most"):
        read(path)
    assert not made
