"""Drawings out of zip files and folders, and sources that are damaged or mean harm."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from npcmeta.tasks.omniglot import drawings as reading
from npcmeta.tasks.omniglot.drawings import DrawingsError, read_drawings
from tests.npcmeta.tasks import omniglot_files as files

FIRST = f"{files.TRAIN}/Greek/character01/0101_01.png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files.tiny_omniglot(tmp_path_factory.mktemp("omniglot"))


def test_ink_is_bright_on_28_by_28_pixels(folder: Path) -> None:
    found = read_drawings(folder)
    assert found.pictures.shape == (23, files.PEOPLE, 28, 28)
    assert found.pictures.dtype == torch.uint8
    assert found.places[0] == (files.TRAIN, "Greek", "character01")
    with Image.open(io.BytesIO(files.drawings(files.TRAIN)[FIRST])) as picture:
        original = 1 - np.asarray(picture, np.float32)
    first = found.pictures[0, 0].float() / 255
    assert float(first.mean()) == pytest.approx(float(original.mean()), abs=0.005)
    assert float(first.max()) > 0.9
    assert float(first.min()) == 0.0


def test_folders_of_zip_files_unpacked_folders_and_single_zip_files_hold_the_same(folder: Path, tmp_path: Path) -> None:
    expected = read_drawings(folder)
    everything = files.drawings(files.TRAIN) | files.drawings(files.TEST)
    one = files.zipped(everything, tmp_path / "everything.zip")
    for path in (one, files.unpacked(everything, tmp_path / "unpacked")):
        found = read_drawings(path)
        assert found.places == expected.places
        assert torch.equal(found.pictures, expected.pictures)
    alone = read_drawings(tmp_path / "unpacked" / files.TRAIN)
    assert alone.places == expected.places[:9]


def test_what_else_lies_there_is_left_alone(tmp_path: Path) -> None:
    kept = files.drawings(files.TRAIN)
    more = {f"__MACOSX/{files.TRAIN}/Greek/character01/._0101_01.png": b"a resource fork", "README.md": b"see there"}
    found = read_drawings(files.zipped(kept | more, tmp_path / "all.zip"))
    assert len(found.places) == 9
    folder = files.unpacked(kept, tmp_path / "folder")
    (folder / files.TRAIN / "Greek" / "album.png").mkdir()
    os.mkfifo(folder / "pipe.zip")
    assert read_drawings(folder).places == found.places


def test_turned_characters_are_others_of_other_alphabets(folder: Path) -> None:
    plain = reading.of_sets(read_drawings(folder), files.TRAIN)
    found = reading.turned(plain)
    assert len(set(found.places)) == len(found.places) == 4 * 9
    assert torch.equal(found.pictures[:9], plain.pictures)
    assert torch.equal(found.pictures[9:18].flip(2).transpose(2, 3), plain.pictures)
    assert torch.equal(found.pictures[18:27].flip(2, 3), plain.pictures)
    assert len({place[1] for place in found.places}) == 4 * 2


def test_a_set_that_is_not_there_says_which_are(folder: Path) -> None:
    with pytest.raises(DrawingsError, match=f"no set images_evaluation .* are of {files.TRAIN}, {files.TEST}"):
        reading.of_sets(read_drawings(folder), "images_evaluation")


def test_nothing_and_other_things(tmp_path: Path) -> None:
    with pytest.raises(DrawingsError, match="no such file or folder"):
        read_drawings(tmp_path / "nowhere")
    with pytest.raises(DrawingsError, match=r"no drawings; expected .* images_background_small1\.zip"):
        read_drawings(tmp_path)
    (tmp_path / "text.zip").write_text("this is no zip file")
    with pytest.raises(DrawingsError, match=r"text\.zip: not an intact zip file"):
        read_drawings(tmp_path / "text.zip")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_zip_file(folder: Path, tmp_path: Path, share: float) -> None:
    data = (folder / f"{files.TRAIN}.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(data[: int(share * len(data))])
    with pytest.raises(DrawingsError, match=r"cut\.zip: not an intact zip file"):
        read_drawings(tmp_path)


def test_a_zip_file_that_was_damaged_inside(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / f"{files.TRAIN}.zip").read_bytes())
    data[200:240] = bytes(40)
    (tmp_path / "bad.zip").write_bytes(data)
    with pytest.raises(DrawingsError, match=r"bad\.zip: "):
        read_drawings(tmp_path)


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.zipped(files.drawings(files.TRAIN), tmp_path / "many.zip")
    monkeypatch.setattr(reading, "MAX_FILES", 20)
    with pytest.raises(DrawingsError, match=r"many\.zip: .* \(its directory takes .* bytes, expected at most"):
        read_drawings(tmp_path)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    data = files.zipped({FIRST.replace("Greek", "Gräek"): files.png(1, 1)}, tmp_path / "odd.zip").read_bytes()
    (tmp_path / "odd.zip").write_bytes(data.replace("ä".encode(), b"\xff\xff"))
    with pytest.raises(DrawingsError, match=r"odd\.zip: not an intact zip file"):
        read_drawings(tmp_path)


def test_too_many_files_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.unpacked(files.drawings(files.TRAIN), tmp_path)
    monkeypatch.setattr(reading, "MAX_FILES", 20)
    with pytest.raises(DrawingsError, match="more than 20 drawings"):
        read_drawings(tmp_path)


def test_a_zip_file_beyond_all_measure_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.zipped(files.drawings(files.TRAIN), tmp_path / "big.zip")
    monkeypatch.setattr(reading, "MAX_ZIP_BYTES", 1000)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(DrawingsError, match=r"big\.zip: [\d,]+ bytes, expected at most 1,000"):
        read_drawings(tmp_path)


def test_a_member_that_unpacks_to_too_much(tmp_path: Path) -> None:
    files.zipped({FIRST: bytes(50 << 20)}, tmp_path / "bomb.zip")
    assert (tmp_path / "bomb.zip").stat().st_size < 100_000
    with pytest.raises(DrawingsError, match=r"bomb\.zip: .*0101_01\.png: more than 65,536 bytes"):
        read_drawings(tmp_path)


def test_a_member_that_lies_about_its_size(tmp_path: Path) -> None:
    data = bytearray(files.zipped({FIRST: bytes(50 << 20)}, tmp_path / "liar.zip").read_bytes())
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<I", 100)
    (tmp_path / "liar.zip").write_bytes(data)
    with pytest.raises(DrawingsError, match=r"liar\.zip: "):
        read_drawings(tmp_path)


def test_a_file_in_a_folder_that_is_too_large(tmp_path: Path) -> None:
    files.unpacked({FIRST: files.png(1, 1) + bytes(70_000)}, tmp_path)
    with pytest.raises(DrawingsError, match=r"0101_01\.png: more than 65,536 bytes"):
        read_drawings(tmp_path)


def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("L", (105, 105)).save(stream, "JPEG")
    return stream.getvalue()


def huge() -> bytes:
    """The head of a picture of 60,000 pixels a side, which would take 3.6 GB."""
    head = struct.pack(">4sIIBBBBB", b"IHDR", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))


@pytest.mark.parametrize(
    "make",
    [jpeg, huge, lambda: b"", lambda: b"\x89PNG\r\n\x1a\n", lambda: files.png(1, 1)[:80], lambda: b"GIF89a" * 20],
    ids=["jpeg", "huge", "empty", "signature", "cut", "other"],
)
def test_what_is_no_png_picture_of_a_drawing(tmp_path: Path, make: Callable[[], bytes]) -> None:
    files.zipped({FIRST: make()}, tmp_path / "strange.zip")
    with pytest.raises(DrawingsError, match=r"strange\.zip: .*0101_01\.png: not an intact PNG picture"):
        read_drawings(tmp_path)


def test_a_picture_that_is_too_large(tmp_path: Path) -> None:
    files.zipped({FIRST: files.png(1, 1, side=600)}, tmp_path / "large.zip")
    with pytest.raises(DrawingsError, match=r"0101_01\.png: \(600, 600\) pixels, expected at most 512 a side"):
        read_drawings(tmp_path)


def test_a_drawing_without_a_character(tmp_path: Path) -> None:
    files.zipped({"Greek/0101_01.png": files.png(1, 1)}, tmp_path / "flat.zip")
    with pytest.raises(DrawingsError, match="expected SET/ALPHABET/CHARACTER/NAME"):
        read_drawings(tmp_path)


def test_a_character_that_somebody_left_out(tmp_path: Path) -> None:
    kept = files.drawings(files.TRAIN)
    del kept[FIRST]
    files.zipped(kept, tmp_path / "gap.zip")
    with pytest.raises(DrawingsError, match="Greek/character01 was drawn 6 times, others 7 times"):
        read_drawings(tmp_path)
