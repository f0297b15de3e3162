"""Recordings as .npz files, as anybody writes them with numpy.savez."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from npcmeta.recordings.npz import read_npz
from npcmeta.recordings.npz_writer import write_npz
from npcmeta.recordings.recording import Recording, RecordingError
from tests.npcmeta.recordings.plays import assert_same, masked, play

OBSERVATIONS = np.arange(12, dtype=np.float32).reshape(4, 3)
CHOICES = np.array([[0, 1], [1, 0], [2, 1], [0, 0]])


def read(folder: Path, known: tuple[int, ...] | None = None, /, **arrays: object) -> Recording:
    np.savez(folder / "clip.npz", **arrays)  # type: ignore[arg-type]
    return read_npz(folder / "clip.npz", known)


@pytest.mark.parametrize(("continuous", "branches"), [(2, ()), (0, (3, 2)), (2, (5,)), (0, (3, 3, 2))])
def test_what_is_written_is_read_back(tmp_path: Path, continuous: int, branches: tuple[int, ...]) -> None:
    recording = masked(play(23, continuous=continuous, branches=branches))
    write_npz(tmp_path / "a.npz", recording)
    found = read_npz(tmp_path / "a.npz")
    assert_same(found, recording)
    assert (found.tick_rate_hz, found.name) == (10.0, "a")


def test_two_arrays_are_enough(tmp_path: Path) -> None:
    recording = read(tmp_path, observations=OBSERVATIONS, discrete_actions=CHOICES)
    assert recording.discrete_actions.tolist() == CHOICES.tolist()
    assert recording.branch_sizes == (3, 2)
    assert not recording.branches_declared
    assert recording.action_masks.all()
    assert recording.episode_starts.tolist() == [True, False, False, False]
    assert recording.rewards.tolist() == [0.0] * 4
    assert recording.tick_rate_hz is None


def test_numbers_may_have_another_width_and_order(tmp_path: Path) -> None:
    recording = read(
        tmp_path,
        observations=np.asfortranarray(OBSERVATIONS.astype(np.float64)),
        discrete_actions=CHOICES.astype(np.uint8),
        continuous_actions=(OBSERVATIONS / 16).astype(np.float16),
        tick_rate_hz=20,
    )
    np.testing.assert_array_equal(recording.observations, OBSERVATIONS)
    np.testing.assert_array_equal(recording.continuous_actions, OBSERVATIONS / 16)
    assert recording.observations.dtype == recording.continuous_actions.dtype == np.float32
    assert recording.discrete_actions.dtype == np.int64
    assert recording.tick_rate_hz == 20.0


def test_branch_sizes_come_from_the_caller_or_the_file_or_a_single_branchs_mask(tmp_path: Path) -> None:
    arrays = {"observations": OBSERVATIONS, "discrete_actions": CHOICES[:, :1]}
    mask = np.ones((4, 5), dtype=bool)
    assert read(tmp_path, (7,), **arrays).branch_sizes == (7,)
    assert read(tmp_path, **arrays, branch_sizes=np.array([6])).branch_sizes == (6,)
    assert read(tmp_path, **arrays, action_masks=mask).branch_sizes == (5,)
    with pytest.raises(RecordingError, match=r"branch_sizes is \(6,\); expected \(7,\)"):
        read(tmp_path, (7,), **arrays, branch_sizes=np.array([6]))


def test_a_mask_of_several_branches_must_say_how_it_is_divided(tmp_path: Path) -> None:
    arrays = {"observations": OBSERVATIONS, "discrete_actions": CHOICES, "action_masks": np.ones((4, 6), dtype=bool)}
    with pytest.raises(RecordingError, match=r"action_masks has 6 columns, .* make 5; add an array branch_sizes"):
        read(tmp_path, **arrays)
    assert read(tmp_path, **arrays, branch_sizes=np.array([4, 2])).branch_sizes == (4, 2)


def test_arrays_of_other_names_are_ignored_and_noted(tmp_path: Path) -> None:
    recording = read(tmp_path, observations=OBSERVATIONS, discrete_actions=CHOICES, player="bob")
    assert recording.notes == (f"{tmp_path / 'clip.npz'}: ignored 'player'",)


GOOD = {"observations": OBSERVATIONS, "discrete_actions": CHOICES}
NAN = OBSERVATIONS.copy()
NAN[2, 1] = np.nan
WRONG = {
    "there is no array observations; found 'discrete_actions'": {"discrete_actions": CHOICES},
    "there are no actions; expected continuous_actions, discrete_actions or both": {"observations": OBSERVATIONS},
    "observations is float32 .4.; expected float32 .T, O.": GOOD | {"observations": OBSERVATIONS[:, 0]},
    "observations is int64 .4, 2.; expected float32": GOOD | {"observations": CHOICES},
    "discrete_actions is int64 .4.; expected int64 .T, B.": GOOD | {"discrete_actions": CHOICES[:, 0]},
    "discrete_actions is float32 .4, 3.; expected int64": GOOD | {"discrete_actions": OBSERVATIONS},
    "rewards has 3 steps; expected 4, as in observations": GOOD | {"rewards": np.zeros(3, dtype=np.float32)},
    "action_masks has shape .4, 2.; expected .4, 1.": {
        "observations": OBSERVATIONS,
        "discrete_actions": CHOICES[:, :1] * 0,
        "action_masks": np.ones((4, 2), dtype=bool),
        "branch_sizes": np.array([1]),
    },
    "observations, step 2, column 1: nan; expected a finite number": GOOD | {"observations": NAN},
    "observations, step 0, column 1: inf": GOOD | {"observations": OBSERVATIONS.astype(np.float64) * 1e200},
    "rewards, step 3: -inf": GOOD | {"rewards": np.array([0.0, 1.0, 2.0, -np.inf])},
    "discrete_actions, step 2, branch 0: 2; expected 0 to 1": GOOD | {"branch_sizes": np.array([2, 2])},
    "the branches have 0, 2 choices": GOOD | {"branch_sizes": np.array([0, 2])},
    "discrete_actions, step 0, branch 0: -1; expected choices counted from 0": GOOD
    | {"discrete_actions": CHOICES * [0, 1] - [1, 0]},
    r"continuous_actions, step 1, column 0: 1\.5; expected -1 to 1, .*: scale them when recording .* to 1\.5": GOOD
    | {"continuous_actions": np.array([[-1.0], [1.5], [0.0], [1.00005]])},
    "action_masks, step 1, branch 1: choice 0 was taken but is masked out": GOOD
    | {"action_masks": np.array([[1] * 5, [1, 1, 1, 0, 1], [1] * 5, [1] * 5], dtype=bool)},
    "the tick rate is 0.0 Hz": GOOD | {"tick_rate_hz": 0.0},
    "the tick rate is nan Hz": GOOD | {"tick_rate_hz": np.nan},
    "observations is empty": {"observations": OBSERVATIONS[:0], "discrete_actions": CHOICES[:0]},
    r"observations is not a plain array of numbers .*; expected float32": GOOD
    | {"observations": np.full((4, 3), "one")},
}


@pytest.mark.parametrize("message", WRONG)
def test_an_error_names_the_file_the_place_and_what_was_expected(tmp_path: Path, message: str) -> None:
    with pytest.raises(RecordingError, match=rf"clip\.npz: .*{message}|clip\.npz: {message}"):
        read(tmp_path, **WRONG[message])


def test_an_unsound_recording_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="step 0, branch 0: -1"):
        write_npz(tmp_path / "a.npz", play(8)._replace(discrete_actions=np.full((8, 2), -1)))
    assert list(tmp_path.iterdir()) == []
