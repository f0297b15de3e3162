"""`behavior.json`: what it may say, and that recordings have to fit it."""

from __future__ import annotations

from pathlib import Path

import pytest

from npcmeta.recordings.behavior import Behavior, read_behavior
from npcmeta.recordings.recording import RecordingError
from tests.npcmeta.recordings.plays import play


def read(folder: Path, text: str) -> Behavior:
    (folder / "behavior.json").write_text(text)
    return read_behavior(folder / "behavior.json")


def test_everything_may_be_said_or_left_open(tmp_path: Path) -> None:
    assert read_behavior(tmp_path / "behavior.json") == Behavior()
    assert read(tmp_path, "{}") == Behavior()
    text = '{"tick_rate_hz": 30, "observation_size": 4, "continuous_size": 0, "branch_sizes": [3, 2]}'
    assert read(tmp_path, text) == Behavior(30.0, 4, 0, (3, 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        (" " * 100_000, "more than 65536 bytes"),
        ("[]", r"\[\]; expected an object with some of tick_rate_hz, observation_size"),
        ('{"tick_rate_hz": 10, "tickrate": 1}', "there is no 'tickrate'; expected some of tick_rate_hz, observation"),
        ('{"tick_rate_hz": 0}', "tick_rate_hz is 0; expected more than 0 and at most 1000 hertz"),
        ('{"tick_rate_hz": NaN}', "tick_rate_hz is nan"),
        ('{"tick_rate_hz": true}', "tick_rate_hz is True"),
        ('{"branch_sizes": 3}', "branch_sizes is 3; expected a list of whole numbers"),
        ('{"branch_sizes": [3, true]}', "branch_sizes is .3, True.; expected a list"),
        ('{"branch_sizes": [0]}', "the branches have 0 choices"),
        ('{"observation_size": -1}', "observation_size is -1; expected a whole number"),
        ('{"continuous_size": 1.5}', r"continuous_size is 1\.5; expected a whole number"),
    ],
)
def test_anything_else_is_refused_with_what_was_expected(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecordingError, match=rf"behavior\.json: .*{message}|behavior\.json: {message}"):
        read(tmp_path, text)


def test_a_recording_that_does_not_fit_is_named() -> None:
    Behavior(10.0, 4, 0, (3, 2)).check(play(), "clip.npz")
    Behavior(20.0).check(play()._replace(tick_rate_hz=None), "clip.npz")
    with pytest.raises(RecordingError, match=r"clip\.npz: branch_sizes is \(3, 2\); expected \(4, 2\)"):
        Behavior(branch_sizes=(4, 2)).check(play(), "clip.npz")
    expected = r"clip\.npz: tick_rate_hz is 10\.0; expected 20\.0, and observation_size is 4; expected 5"
    with pytest.raises(RecordingError, match=expected):
        Behavior(20.0, 5).check(play(), "clip.npz")
