"""Files of arrays that are damaged or made to harm: only a RecordingError may come of them."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from npcmeta.recordings import npz
from npcmeta.recordings.npz import read_npz
from npcmeta.recordings.npz_writer import write_npz
from npcmeta.recordings.recording import RecordingError
from tests.npcmeta.recordings.hostile import flipped, garbage, outcome, peak_bytes
from tests.npcmeta.recordings.plays import masked, play

MEGABYTE = 1 << 20


def array(descr: str, shape: str, data: bytes = b"", *, fortran: str = "False") -> bytes:
    """A .npy file by hand, whatever it claims."""
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def archive(method: int = zipfile.ZIP_DEFLATED, **members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return stream.getvalue()


def sound(folder: Path) -> bytes:
    write_npz(folder / "sound.npz", masked(play(3, continuous=1)))
    return (folder / "sound.npz").read_bytes()


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = sound(tmp_path)
    for size in range(len(data)):
        assert isinstance(outcome(read_npz, tmp_path / "cut.npz", data[:size]), str), size


def test_flipped_bytes_never_bring_out_another_error(tmp_path: Path) -> None:
    stored = archive(
        zipfile.ZIP_STORED,
        observations=array("'<f4'", "(2, 2)", np.ones(4, dtype=np.float32).tobytes()),
        discrete_actions=array("'|u1'", "(2, 1)", b"\x00\x01"),
    )
    assert not isinstance(outcome(read_npz, tmp_path / "a.npz", stored), str)
    for data in (sound(tmp_path), stored):
        results = [outcome(read_npz, tmp_path / "flipped.npz", bad) for bad in flipped(data, 700, seed=1)]
        assert any(isinstance(result, str) for result in results)


def test_arrays_with_flipped_bytes_in_an_intact_archive_never_bring_out_another_error(tmp_path: Path) -> None:
    good = {
        "observations": array("'<f4'", "(2, 2)", np.ones(4, dtype=np.float32).tobytes()),
        "discrete_actions": array("'|u1'", "(2, 1)", b"\x00\x01"),
        "action_masks": array("'|b1'", "(2, 3)", b"\x01\x01\x01\x00\x01\x02"),
        "tick_rate_hz": array("'<f8'", "()", struct.pack("<d", 10.0)),
    }
    for name, data in good.items():
        for bad in flipped(data, 400, seed=4):
            outcome(read_npz, tmp_path / "flipped.npz", archive(zipfile.ZIP_STORED, **(good | {name: bad})))


def test_garbage_is_refused(tmp_path: Path) -> None:
    for data in garbage(300, seed=2):
        assert isinstance(outcome(read_npz, tmp_path / "garbage.npz", data), str)
        packed = archive(observations=array("'<f4'", "(2, 2)", data), discrete_actions=data)
        assert isinstance(outcome(read_npz, tmp_path / "garbage.npz", packed), str)


class Bomb:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("was-run",)


def test_a_pickled_array_is_refused_without_running_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "a.npz", observations=np.array([[Bomb()]], dtype=object), allow_pickle=True)
    for data in ((tmp_path / "a.npz").read_bytes(), pickle.dumps(Bomb()), archive(observations=pickle.dumps(Bomb()))):
        assert isinstance(outcome(read_npz, tmp_path / "b.npz", data), str)
    assert not (tmp_path / "was-run").exists()


ACTIONS = {"discrete_actions": array("'<i8'", "(1, 1)", bytes(8))}
CLAIMS = {
    "the arrays unpack to 1,342,177,": {"observations": array("'<f4'", "(335544320, 1)", bytes(1))},
    r"declares the shape \[1000000000000, 4\]": {"observations": array("'<f4'", "(1000000000000, 4)", bytes(16))},
    "observations is empty": {"observations": array("'<f4'", "(1000000000000, 0)")},
    "discrete_actions has 100000 branches": {"discrete_actions": array("'|u1'", "(1, 100000)", bytes(100_000))},
    r"16,777,217 steps take .*; expected at most 16,777,216": {
        "observations": array("'<f2'", "(16777217, 1)", bytes(2 * 16777217)),
        "discrete_actions": array("'|u1'", "(16777217, 1)", bytes(16777217)),
    },
    r"declares the shape \[1, 1\] of float32, but the file holds 3 bytes": {
        "observations": array("'<f4'", "(1, 1)", bytes(3))
    },
    r"not a plain array of numbers": {"observations": array("'|O'", "(1, 1)", bytes(4))},
    r"plain array of numbers .*__import__": {"observations": array("__import__('os')", "(1, 1)", bytes(4))},
    r"plain array of numbers .*f3": {"observations": array("'<f3'", "(1, 1)", bytes(3))},
    r"plain array of numbers .*-1": {"observations": array("'<f4'", "(-1, 1)", bytes(4))},
    "does not begin as a .npy array does": {"observations": b"\x93NUMPY\x01\x00\xff\xff"},
}


@pytest.mark.parametrize("message", CLAIMS)
def test_what_a_hostile_file_claims_is_refused_in_so_many_words(tmp_path: Path, message: str) -> None:
    sizes = ACTIONS | {"observations": array("'<f4'", "(1, 1)", bytes(4))} | CLAIMS[message]
    data = archive(**sizes)
    if message.startswith("the arrays unpack"):  # what a zip bomb's directory says
        data = data.replace(struct.pack("<I", len(sizes["observations"])), struct.pack("<I", 5 << 28))
    (tmp_path / "a.npz").write_bytes(data)

    def read() -> None:
        with pytest.raises(RecordingError, match=message):
            read_npz(tmp_path / "a.npz")

    assert peak_bytes(read) < MEGABYTE


def test_a_bomb_that_lies_about_its_size_is_not_unpacked(tmp_path: Path) -> None:
    honest = array("'<f4'", "(1, 1)", bytes(4))
    bomb = honest + bytes(100 * MEGABYTE)
    data = archive(observations=bomb, **ACTIONS).replace(struct.pack("<I", len(bomb)), struct.pack("<I", len(honest)))
    (tmp_path / "a.npz").write_bytes(data)

    def read() -> None:
        with pytest.raises(RecordingError, match=r"a\.npz"):
            read_npz(tmp_path / "a.npz")

    assert peak_bytes(read) < MEGABYTE


def test_a_few_large_choices_cannot_make_a_huge_mask(tmp_path: Path) -> None:
    steps = 200_000
    choices = np.zeros((steps, 1), dtype=np.uint16)
    choices[0] = 4095
    np.savez_compressed(
        tmp_path / "a.npz", observations=np.zeros((steps, 1), dtype=np.float16), discrete_actions=choices
    )

    def read() -> None:
        with pytest.raises(RecordingError, match=r"200,000 steps take .* bytes"):
            read_npz(tmp_path / "a.npz")

    assert peak_bytes(read) < 10 * MEGABYTE


def test_an_unknown_packing_too_many_entries_and_a_large_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = ACTIONS | {"observations": array("'<f4'", "(1, 1)", bytes(4))}
    assert "packed with method 12" in str(outcome(read_npz, tmp_path / "a.npz", archive(zipfile.ZIP_BZIP2, **good)))
    many = archive(**good, **{f"x{i}": b"" for i in range(100)})
    assert "it lists 102 files, expected at most 64" in str(outcome(read_npz, tmp_path / "a.npz", many))
    monkeypatch.setattr(npz, "MAX_BYTES", 50)
    assert "expected at most 50" in str(outcome(read_npz, tmp_path / "a.npz", archive(**good)))
