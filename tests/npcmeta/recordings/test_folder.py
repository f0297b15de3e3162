"""Characters on disk: who is found where, and how their recordings come to agree on one spec."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from npcmeta.recordings.demo_writer import write_demo
from npcmeta.recordings.folder import digest, read_character, read_demonstrations, read_folder
from npcmeta.recordings.npz_writer import write_npz
from npcmeta.recordings.recording import RecordingError, cut
from npcmeta.types import ActionSpec, BehaviorSpec
from tests.npcmeta.recordings.plays import assert_same, play

SPEC = BehaviorSpec(4, ActionSpec(0, (3, 2)), 10.0)


def undeclared(path: Path, choices: list[int]) -> None:
    """A file with one branch that does not say how many choices it has."""
    path.parent.mkdir(exist_ok=True)
    observations = np.zeros((len(choices), 4), dtype=np.float32)
    np.savez(path, observations=observations, discrete_actions=np.array(choices)[:, None])


def test_a_sub_folder_is_a_character_and_its_files_one_timeline_in_name_order(tmp_path: Path) -> None:
    whole = play(20, episode=20)
    write_npz(tmp_path / "bob" / "1.npz", cut(whole, 0, 5))
    write_demo(tmp_path / "bob" / "2.demo", cut(whole, 5, 12))
    write_npz(tmp_path / "bob" / "3.npz", cut(whole, 12, 20))
    write_npz(tmp_path / "alice" / "1.npz", play(6, seed=1))
    found = read_folder(tmp_path)
    assert [member.id for member in found.members] == ["alice", "bob"]
    bob = found.members[1].recording
    assert_same(bob, whole, "observations", "discrete_actions", "rewards")
    assert np.flatnonzero(bob.episode_starts).tolist() == [0, 5, 12]
    assert found.spec == SPEC
    assert found.notes == ()


def test_a_flat_folder_or_a_file_is_one_character(tmp_path: Path) -> None:
    folder = tmp_path / "carol"
    write_npz(folder / "a.npz", play(6))
    write_npz(folder / "b.npz", play(7))
    assert [(m.id, m.recording.steps) for m in read_folder(folder).members] == [("carol", 13)]
    assert [(m.id, m.recording.steps) for m in read_folder(folder / "a.npz").members] == [("a", 6)]
    assert read_character(folder).steps == 13


def test_files_outside_of_the_characters_are_noted_and_hidden_ones_passed_over(tmp_path: Path) -> None:
    write_npz(tmp_path / "bob" / "1.npz", play(6))
    (tmp_path / "bob" / "._1.npz").write_bytes(b"a Mac was here")
    (tmp_path / "bob" / "notes.txt").write_text("none")
    (tmp_path / ".git").mkdir()
    write_npz(tmp_path / "loose.npz", play(6))
    found = read_folder(tmp_path)
    assert [member.id for member in found.members] == ["bob"]
    assert found.notes == (f"{tmp_path}: ignored 1 recordings outside of the characters' folders",)


def test_branches_are_widened_to_the_most_that_anybody_chose(tmp_path: Path) -> None:
    undeclared(tmp_path / "alice" / "1.npz", [0, 1])
    undeclared(tmp_path / "alice" / "2.npz", [0, 2])
    undeclared(tmp_path / "bob" / "1.npz", [4, 0])
    found = read_folder(tmp_path)
    assert found.spec.action.branch_sizes == (5,)
    assert all(member.recording.action_masks.shape[1] == 5 for member in found.members)


def test_what_one_file_declares_holds_for_all(tmp_path: Path) -> None:
    undeclared(tmp_path / "bob" / "1.npz", [0, 1])
    write_npz(tmp_path / "carol" / "1.npz", play(8, branches=(6,)))
    assert read_folder(tmp_path).spec.action.branch_sizes == (6,)
    undeclared(tmp_path / "alice" / "1.npz", [0, 6])
    with pytest.raises(RecordingError, match=r"alice: the largest choices make branches of \(7,\); expected at most"):
        read_folder(tmp_path)


def test_behavior_json_says_what_files_leave_open(tmp_path: Path) -> None:
    undeclared(tmp_path / "bob" / "1.npz", [0, 1])
    rate, sizes = read_folder(tmp_path).notes
    assert "the tick rate is unknown, 10 Hz assumed" in rate
    assert sizes == "branch_sizes is not given, 2 choices were seen: if there are more, branch_sizes in behavior.json"
    (tmp_path / "behavior.json").write_text(json.dumps({"branch_sizes": [4], "tick_rate_hz": 30}))
    found = read_folder(tmp_path)
    assert found.spec == BehaviorSpec(4, ActionSpec(0, (4,)), 30.0)
    assert found.notes == ()
    (tmp_path / "behavior.json").write_text(json.dumps({"observation_size": 5}))
    with pytest.raises(RecordingError, match=r"1\.npz: observation_size is 4; expected 5"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (play(6, continuous=1), "has 1 continuous actions, .*alice has 0; expected the same in all recordings"),
        (play(6, branches=(3, 4)), r"has \(3, 4\) choices in its branches, .*alice has \(3, 2\)"),
        (play(6, branches=(3,)), "has 1 discrete branches, .*alice has 2"),
        (play(6)._replace(tick_rate_hz=20.0), r"has 20\.0 ticks a second, .*alice has 10\.0"),
    ],
)
def test_characters_that_differ_are_both_named(tmp_path: Path, other: object, message: str) -> None:
    write_npz(tmp_path / "alice" / "1.npz", play(6))
    write_npz(tmp_path / "bob" / "1.npz", other)  # type: ignore[arg-type]
    with pytest.raises(RecordingError, match=rf"bob {message}"):
        read_folder(tmp_path)


def test_a_bad_file_in_a_folder_is_named(tmp_path: Path) -> None:
    write_npz(tmp_path / "alice" / "1.npz", play(6))
    write_npz(tmp_path / "bob" / "1.npz", play(6))
    (tmp_path / "bob" / "2.demo").write_bytes(b"\x0c not a demo, whatever its name says")
    with pytest.raises(RecordingError, match=r"bob/2\.demo: "):
        read_folder(tmp_path)


def test_where_nothing_is_the_error_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no recordings; expected a folder for each character"):
        read_folder(tmp_path)
    with pytest.raises(RecordingError, match="there is no such file or folder"):
        read_folder(tmp_path / "none")
    with pytest.raises(RecordingError, match=r"no recordings; expected files ending in \.npz or \.demo"):
        read_character(tmp_path)
    (tmp_path / "clip.csv").write_text("1,2")
    with pytest.raises(RecordingError, match=r"clip\.csv: not a recording; expected a file ending in"):
        read_folder(tmp_path / "clip.csv")


def test_the_digest_is_of_the_play_not_of_its_name_or_format(tmp_path: Path) -> None:
    write_npz(tmp_path / "alice" / "1.npz", play(8, episode=8))
    write_demo(tmp_path / "bob" / "other.demo", play(8, episode=8))
    write_npz(tmp_path / "carol" / "1.npz", play(8, seed=1))
    alice, bob, carol = read_folder(tmp_path).members
    assert alice.digest == bob.digest == digest(play(8))
    assert carol.digest != alice.digest
    assert "bob and alice hold the same play" in read_folder(tmp_path).notes


def test_demonstrations_are_files_or_the_folder_of_a_character(tmp_path: Path) -> None:
    spec = BehaviorSpec(4, ActionSpec(0, (3, 2)), 10.0)
    for seed, name in enumerate(("bob/2.npz", "bob/1.npz", "later.npz")):
        write_npz(tmp_path / name, play(8, seed=seed))
    found = read_demonstrations([tmp_path / "bob", tmp_path / "later.npz"], spec)
    named = read_demonstrations([tmp_path / name for name in ("bob/1.npz", "bob/2.npz", "later.npz")], spec)
    assert_same(found, named)
    assert found.steps == 24
    (tmp_path / "nobody").mkdir()
    with pytest.raises(RecordingError, match=r"nobody: no recordings; expected files ending in \.npz or \.demo"):
        read_demonstrations([tmp_path / "nobody"], spec)


def test_a_folder_of_characters_is_not_taken_for_one(tmp_path: Path) -> None:
    write_npz(tmp_path / "bob" / "1.npz", play(4))
    spec = read_folder(tmp_path).spec
    with pytest.raises(RecordingError, match=r"no recordings; .* are of a character each: name one, .*bob$"):
        read_demonstrations([tmp_path], spec)


def test_demonstrations_have_to_fit_the_archetype(tmp_path: Path) -> None:
    undeclared(tmp_path / "a.npz", [0, 1])
    one = BehaviorSpec(4, ActionSpec(0, (5,)), 10.0)
    recording = read_demonstrations([tmp_path / "a.npz", tmp_path / "a.npz"], one)
    assert (recording.steps, recording.branch_sizes) == (4, (5,))
    with pytest.raises(RecordingError, match=r"a\.npz: observation_size is 4; expected 7"):
        read_demonstrations([tmp_path / "a.npz"], one._replace(observation_size=7))
    with pytest.raises(RecordingError, match=r"discrete_actions, step 1, branch 0: 1; expected 0 to 0"):
        read_demonstrations([tmp_path / "a.npz"], one._replace(action=ActionSpec(0, (1,))))


def test_behavior_json_cannot_contradict_the_archetype(tmp_path: Path) -> None:
    write_npz(tmp_path / "bob" / "1.npz", play(6)._replace(tick_rate_hz=None))
    (tmp_path / "behavior.json").write_text('{"tick_rate_hz": 30}')
    with pytest.raises(RecordingError, match=r"behavior\.json says tick_rate_hz 30\.0; expected 10\.0"):
        read_folder(tmp_path, SPEC)
