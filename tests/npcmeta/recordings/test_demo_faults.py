"""Unity demonstration files that are damaged or made to harm: only a RecordingError may come of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npcmeta.recordings import framing
from npcmeta.recordings.demo import read_demo
from npcmeta.recordings.recording import RecordingError
from tests.npcmeta.recordings import unity_bytes as unity
from tests.npcmeta.recordings.hostile import flipped, garbage, outcome, peak_bytes

MEGABYTE = 1 << 20


def test_a_file_cut_anywhere_before_its_last_step_is_refused(tmp_path: Path) -> None:
    data = unity.two_episodes()
    last_step = len(unity.demo([], b"", trailer=False)) - 1  # where a body begins
    assert last_step == framing.BODY
    end = len(data) - len(unity.framed(unity.meta(5, 3)))
    for size in range(len(data)):
        refused = isinstance(outcome(read_demo, tmp_path / "cut.demo", data[:size]), str)
        assert refused == (size < end), size


def test_an_error_says_that_the_file_is_cut_short(tmp_path: Path) -> None:
    data = unity.two_episodes()
    assert "step 4 of 5 has 37 bytes, but the file ends after" in str(outcome(read_demo, tmp_path / "a", data[:-30]))
    assert "the file ends at byte 0, where the metadata should begin" in str(outcome(read_demo, tmp_path / "a", b""))
    assert "is it cut short?" in str(outcome(read_demo, tmp_path / "a", data[:20]))


def test_flipped_bytes_never_bring_out_another_error(tmp_path: Path) -> None:
    old = [unity.record([unity.sensor([float(i)])], old=[i % 3, i % 2]) for i in range(4)]
    header = unity.meta(4, 1, version=0)
    for data in (unity.two_episodes(), unity.demo(old, unity.old_brain([3, 2], continuous=False), header=header)):
        results = [outcome(read_demo, tmp_path / "flipped.demo", bad) for bad in flipped(data, 700, seed=1)]
        assert any(isinstance(result, str) for result in results)


def test_garbage_is_refused(tmp_path: Path) -> None:
    for data in garbage(500, seed=2):
        assert isinstance(outcome(read_demo, tmp_path / "garbage.demo", data), str)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(brain=st.binary(max_size=40), record=st.binary(max_size=60), steps=st.integers(-3, 4))
def test_messages_of_any_content_never_bring_out_another_error(
    tmp_path: Path, brain: bytes, record: bytes, steps: int
) -> None:
    header = unity.meta(steps, 1)
    for middle in (brain, unity.brain([2])):
        outcome(read_demo, tmp_path / "any.demo", unity.demo([record] * 4, middle, header=header))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff" * 40, "byte 0: the metadata has no valid length"),
        (unity.varint(1 << 27) + b"\0" * 40, "byte 0: the metadata has 134,217,728 bytes; expected at most 1,048,576"),
        (b"PK\x03\x04" + b"\0" * 60, "the metadata has 80 bytes, but the file ends after 63"),
        (unity.demo([], unity.brain([2]), header=unity.meta((1 << 31) - 1, 1)), "2147483647 steps, which"),
        (unity.demo([b""] * 9, unity.brain([2]), header=unity.meta(-9, 1)), "the header says -9 steps"),
        (unity.demo([b"\x0a\x7f"] * 2, unity.brain([2])), "step 0 of 2 cannot be decoded"),
        (unity.demo([unity.record([])] * 2, unity.brain([2])), "step 0: the observations have 0 numbers"),
        (unity.demo([unity.record([b""] * 300)] * 2, unity.brain([2])), "step 0: observation 0 .* image"),
    ],
)
def test_what_a_hostile_file_claims_is_refused_in_so_many_words(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.demo").write_bytes(data)
    with pytest.raises(RecordingError, match=message):
        read_demo(tmp_path / "a.demo")


@pytest.mark.parametrize("brain", [unity.brain([4000]), unity.brain(continuous=4000)])
def test_a_small_file_cannot_make_many_wide_rows(tmp_path: Path, brain: bytes) -> None:
    record = unity.record([unity.sensor([1.0])], done=True)  # no action, so that one of zeros takes its place
    data = unity.demo([], brain, header=unity.meta(200_000, 1)) + unity.framed(record) * 200_000
    (tmp_path / "wide.demo").write_bytes(data)

    def read() -> None:
        with pytest.raises(RecordingError, match=r"200,000 steps take .* bytes; expected at most"):
            read_demo(tmp_path / "wide.demo")

    assert peak_bytes(read) < len(data) + MEGABYTE


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_BYTES", 50)
    assert "larger than 50 bytes" in str(outcome(read_demo, tmp_path / "a.demo", unity.two_episodes()))


def test_a_missing_file_is_a_recording_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"none\.demo: cannot be read: No such file"):
        read_demo(tmp_path / "none.demo")
