"""Reading Unity's demonstration files, from files that were put together by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from npcmeta.recordings.demo import read_demo
from npcmeta.recordings.demo_records import read_records
from npcmeta.recordings.recording import Recording, RecordingError
from tests.npcmeta.recordings import unity_bytes as unity


def read(folder: Path, data: bytes) -> Recording:
    path = folder / "clip.demo"
    path.write_bytes(data)
    return read_demo(path)


def test_every_observation_stands_beside_the_action_and_reward_that_answered_it(tmp_path: Path) -> None:
    recording = read(tmp_path, unity.two_episodes())
    assert recording.observations.tolist() == [[10.0], [11.0], [20.0]]
    assert recording.discrete_actions.tolist() == [[1], [2], [2]]
    assert recording.rewards.tolist() == [0.5, 1.0, -1.0]
    assert recording.episode_starts.tolist() == [True, False, True]
    assert recording.branch_sizes == (3,)
    assert recording.branches_declared
    assert recording.name == "clip"


def test_the_file_as_it_stands_has_more_to_it_than_its_header_says(tmp_path: Path) -> None:
    (tmp_path / "a.demo").write_bytes(unity.two_episodes())
    records = read_records(tmp_path / "a.demo")
    assert records.discrete_actions[:, 0].tolist() == [0, 1, 2, 0, 2]
    assert records.starts.tolist() == [True, False, False, True, False]
    assert records.header.episodes == 3  # what Unity wrote
    assert records.done.sum() == 2  # what happened
    assert (records.header.name, records.header.brain, records.header.version) == ("guard", "Guard", 1)


@pytest.mark.parametrize("behind", [b"", b"\xff" * 50, unity.framed(unity.record([unity.sensor([9.0])]))])
def test_nothing_is_read_behind_the_last_step(tmp_path: Path, behind: bytes) -> None:
    assert read(tmp_path, unity.two_episodes() + behind).steps == 3


def test_unitys_mask_says_what_is_forbidden_and_ours_what_is_allowed(tmp_path: Path) -> None:
    records = [
        unity.record([unity.sensor([0.0])], discrete=[0, 0], forbidden=[0, 0, 1, 0, 0]),
        unity.record([unity.sensor([1.0])], discrete=[1, 1], forbidden=[0, 0, 0, 0, 0]),
        unity.record([unity.sensor([2.0])], discrete=[2, 0], done=True),
    ]
    masks = read(tmp_path, unity.demo(records, unity.brain([3, 2]))).action_masks
    assert masks.tolist() == [[True, True, False, True, True], [True] * 5]


def test_a_choice_taken_against_the_mask_counts_as_allowed_and_is_noted(tmp_path: Path) -> None:
    records = [
        unity.record([unity.sensor([0.0])], discrete=[0], forbidden=[0, 1, 1]),
        unity.record([unity.sensor([1.0])], discrete=[2], done=True),
    ]
    recording = read(tmp_path, unity.demo(records, unity.brain([3])))
    assert recording.action_masks.tolist() == [[True, False, True]]
    assert "1 choices were taken although they were masked" in recording.notes[0]


def test_sensors_stand_side_by_side_in_the_files_order(tmp_path: Path) -> None:
    eyes = [unity.sensor([1.0, 2.0], "rays"), unity.sensor([3.0], "goal")]
    records = [unity.record(eyes, continuous=[0.0, 0.0]), unity.record(eyes, continuous=[0.5, -0.25], done=True)]
    recording = read(tmp_path, unity.demo(records, unity.brain(continuous=2)))
    assert recording.observations.tolist() == [[1.0, 2.0, 3.0]]
    assert recording.continuous_actions.tolist() == [[0.5, -0.25]]


def test_hybrid_actions_keep_both_kinds(tmp_path: Path) -> None:
    steps = [([0.0], [0]), ([0.5], [1])]
    records = [unity.record([unity.sensor([1.0])], continuous=c, discrete=d) for c, d in steps]
    recording = read(tmp_path, unity.demo(records, unity.brain([2], continuous=1)))
    assert (recording.continuous_actions.tolist(), recording.discrete_actions.tolist()) == ([[0.5]], [[1]])


def test_version_0_keeps_choices_as_floats_in_fields_of_its_own(tmp_path: Path) -> None:
    records = [unity.record([unity.sensor([float(i)])], old=[i % 3, i % 2]) for i in range(4)]
    header = unity.meta(4, 1, version=0)
    recording = read(tmp_path, unity.demo(records, unity.old_brain([3, 2], continuous=False), header=header))
    assert recording.branch_sizes == (3, 2)
    assert recording.discrete_actions.tolist() == [[1, 1], [2, 0], [0, 1]]


def test_version_0_keeps_continuous_actions_there_too(tmp_path: Path) -> None:
    records = [unity.record([unity.sensor([float(i)])], old=[i / 4, 0.5]) for i in range(3)]
    header = unity.meta(3, 1, version=0)
    recording = read(tmp_path, unity.demo(records, unity.old_brain([2], continuous=True), header=header))
    assert recording.branch_sizes == ()
    assert recording.continuous_actions.tolist() == [[0.25, 0.5], [0.5, 0.5]]


def test_only_the_first_record_of_an_episode_may_have_no_action(tmp_path: Path) -> None:
    first = unity.record([unity.sensor([0.0])])
    second = unity.record([unity.sensor([1.0])], discrete=[1])
    assert read(tmp_path, unity.demo([first, second], unity.brain([3]))).discrete_actions.tolist() == [[1]]
    with pytest.raises(RecordingError, match="step 1: the action has 0 continuous values and 0 branches; expected 0"):
        read(tmp_path, unity.demo([second, first], unity.brain([3])))


def test_a_recording_stopped_within_an_episode_loses_only_the_record_without_an_answer(tmp_path: Path) -> None:
    records = [unity.record([unity.sensor([float(i)])], discrete=[i % 2]) for i in range(4)]
    assert read(tmp_path, unity.demo(records, unity.brain([2]))).observations[:, 0].tolist() == [0.0, 1.0, 2.0]


def test_episodes_of_one_record_hold_no_action(tmp_path: Path) -> None:
    alone = unity.record([unity.sensor([7.0])], discrete=[0], done=True)
    whole = [unity.record([unity.sensor([float(i)])], discrete=[1]) for i in range(2)]
    recording = read(tmp_path, unity.demo([alone, *whole], unity.brain([2])))
    assert recording.observations.tolist() == [[0.0]]
    assert recording.episode_starts.tolist() == [True]
    with pytest.raises(RecordingError, match="no episode is longer than one step"):
        read(tmp_path, unity.demo([alone, alone], unity.brain([2])))


def test_images_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"step 0: observation 1 .'camera'. is a compressed image"):
        read(tmp_path, unity.demo([unity.record([unity.sensor([1.0]), unity.image()])], unity.brain([2])))


def good(**changes: object) -> bytes:
    return unity.record(**({"sensors": [unity.sensor([1.0])], "discrete": [1]} | changes))  # type: ignore[arg-type]


BAD = {
    "step 1: the observations have .2,. numbers; expected .1,., as in step 0": good(sensors=[unity.sensor([1.0, 2.0])]),
    "step 1: the observations have .1, 1. numbers": good(sensors=[unity.sensor([1.0])] * 2),
    "step 1: the observations have .0,. numbers": good(sensors=[unity.image()]),
    "step 1: the action has 0 continuous values and 2 branches": good(discrete=[1, 1]),
    "step 1: the action mask has 2 values; expected 3": good(forbidden=[1, 0]),
    "discrete_actions, step 0, branch 0: 3; expected 0 to 2": good(discrete=[3]),
    "discrete_actions, step 0, branch 0: -1; expected 0 to 2": good(discrete=[-1]),
    "rewards, step 0: nan; expected a finite number": good(reward=float("nan")),
    "step 1: the choices are .0.5.; expected whole numbers": good(discrete=[], old=[0.5]),
    "step 1: the choices are .1.0.*e.30.; expected whole numbers": good(discrete=[], old=[1e30]),
    "step 1: the choices are .inf.; expected whole numbers": good(discrete=[], old=[float("inf")]),
}


@pytest.mark.parametrize("message", BAD)
def test_an_error_names_the_step_and_what_was_expected(tmp_path: Path, message: str) -> None:
    with pytest.raises(RecordingError, match=message):
        read(tmp_path, unity.demo([good(), BAD[message], good()], unity.brain([3])))


def test_an_observation_that_is_not_finite_is_refused_where_it_is_used(tmp_path: Path) -> None:
    records = [good(), good(sensors=[unity.sensor([np.nan])]), good(done=True)]
    with pytest.raises(RecordingError, match=r"clip.demo: observations, step 1, column 0: nan"):
        read(tmp_path, unity.demo(records, unity.brain([3])))


def test_a_recording_that_was_never_closed_says_how_to_close_it(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"the header says 0 steps; .* stop the recorder"):
        read(tmp_path, unity.demo([good(), good()], unity.brain([3]), header=unity.meta(0, 0)))


@pytest.mark.parametrize(
    ("brain", "message"),
    [
        (unity.brain(), "0 continuous actions and 0 branches; expected at least one action"),
        (unity.brain([3, 0]), "the branches have 3, 0 choices"),
        (unity.brain([4000, 4000]), "together at most 4096 choices"),
        (unity.brain(continuous=-1), "-1 continuous actions"),
        (unity.brain(continuous=1 << 30), "at most 4096 continuous ones"),
        (unity.block(9, unity.number(2, 2) + unity.whole(3, [3])), "2 branches and 1 sizes"),
        (unity.old_brain([-5], continuous=True), "-5 continuous actions"),
    ],
)
def test_brain_parameters_are_checked(tmp_path: Path, brain: bytes, message: str) -> None:
    with pytest.raises(RecordingError, match=message):
        read(tmp_path, unity.demo([good(), good()], brain))


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="demonstration format 2; expected 0 or 1"):
        read(tmp_path, unity.demo([good(), good()], unity.brain([3]), header=unity.meta(2, 1, version=2)))
