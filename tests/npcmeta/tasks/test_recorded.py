"""Recorded characters as tasks: who trains, who validates, and who may be evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from npcmeta import tasks
from npcmeta.recordings.folder import digest
from npcmeta.recordings.npz_writer import write_npz
from npcmeta.recordings.recording import RecordingError
from npcmeta.tasks import recorded
from npcmeta.tasks.timelines import TimelineFamily
from npcmeta.types import TaskFamily
from tests.npcmeta.recordings.plays import play


def ids(family: TaskFamily) -> tuple[str, ...]:
    assert isinstance(family, TimelineFamily)
    return family.ids


def lengths(family: TaskFamily) -> list[int]:
    assert isinstance(family, TimelineFamily)
    return family.lengths.tolist()


def characters(folder: Path, count: int, steps: int = 40) -> Path:
    for seed in range(count):
        write_npz(folder / f"player-{seed:02d}" / "clip.npz", play(steps, seed=seed))
    return folder


def test_a_fifth_of_the_characters_validates_and_the_split_draws_them(tmp_path: Path) -> None:
    characters(tmp_path, 10)
    drawn = [recorded.splits(tmp_path, split) for split in range(4)]
    for found in drawn:
        train, validation = set(ids(found.train)), set(ids(found.validation))
        assert (len(train), len(validation)) == (8, 2)
        assert train | validation == {f"player-{i:02d}" for i in range(10)}
    assert len({ids(found.validation) for found in drawn}) > 1
    assert ids(recorded.splits(tmp_path, 1).train) == ids(drawn[1].train)


def test_whoever_holds_the_same_play_is_on_one_side(tmp_path: Path) -> None:
    characters(tmp_path, 6)
    for name in ("another", "zorro"):
        write_npz(tmp_path / name / "clip.npz", play(40, seed=2))
    sides = set()
    for split in range(12):
        found = recorded.splits(tmp_path, split)
        train, validation = set(found.summary["train"].values()), set(found.summary["validation"].values())
        assert train
        assert not train & validation
        sides.add("player-02" in ids(found.train))
    assert sides == {True, False}


def test_many_folders_of_few_plays_are_few_characters(tmp_path: Path) -> None:
    for name in "abcdefg":
        write_npz(tmp_path / name / "clip.npz", play(200, seed=0))
    found = recorded.splits(tmp_path, 0)
    assert "1 character only: segments" in found.summary["notes"][-1]
    assert not set(found.summary["train"].values()) & set(found.summary["validation"].values())


def test_the_summary_names_everybody_with_a_digest_and_fits_a_header(tmp_path: Path) -> None:
    characters(tmp_path, 5)
    summary = recorded.splits(tmp_path, 3).summary
    assert json.loads(json.dumps(summary)) == summary
    named = summary["train"] | summary["validation"]
    assert named == {f"player-{seed:02d}": digest(play(40, seed=seed)) for seed in range(5)}
    assert (summary["split"], summary["segments"], len(summary["validation"])) == (3, False, 1)


def test_with_fewer_than_five_characters_segments_are_the_tasks_and_the_last_validate(tmp_path: Path) -> None:
    characters(tmp_path, 2, steps=1000)
    found = recorded.splits(tmp_path, split=0)
    assert found.summary["segments"]
    assert len(ids(found.train)) == 16
    assert ids(found.validation) == tuple(f"player-0{who}/segment-0{i}" for who in (0, 1) for i in (8, 9))
    assert lengths(found.train) == [100] * 16
    assert ids(recorded.splits(tmp_path, split=7).validation) == ids(found.validation)
    assert "2 characters only: segments of their timelines are the tasks" in found.summary["notes"][-1]
    assert "how it generalises to other characters cannot be measured" in found.summary["notes"][-1]


@pytest.mark.parametrize(
    ("steps", "count"), [(20, 5), (499, 5), (700, 7), (1000, 10), (2600, 10), (4000, 16), (9999, 20)]
)
def test_segments_are_contiguous_and_cover_the_timeline(tmp_path: Path, steps: int, count: int) -> None:
    write_npz(tmp_path / "clip.npz", play(steps))
    found = recorded.splits(tmp_path / "clip.npz", 0)
    sizes = lengths(found.train) + lengths(found.validation)
    assert (len(sizes), sum(sizes)) == (count, steps)
    assert max(sizes) - min(sizes) <= 1
    first = found.train.evaluation(0).task.query.observation[0, 0].numpy()
    np.testing.assert_array_equal(first, play(steps).observations[sizes[0] // 2])


def test_too_little_to_learn_from_says_how_much_is_needed(tmp_path: Path) -> None:
    write_npz(tmp_path / "one" / "clip.npz", play(19))
    with pytest.raises(RecordingError, match="one has 19 steps; expected at least 20 where segments are the tasks"):
        recorded.splits(tmp_path / "one", 0)
    characters(tmp_path / "many", 5)
    write_npz(tmp_path / "many" / "player-03" / "clip.npz", play(3))
    with pytest.raises(RecordingError, match="player-03 has 3 steps; expected at least 4: record more of it"):
        recorded.splits(tmp_path / "many", 0)


def test_a_branch_with_one_choice_says_what_to_do(tmp_path: Path) -> None:
    idle = np.zeros((40, 1), dtype=np.int64)
    np.savez(tmp_path / "clip.npz", observations=play(40).observations, discrete_actions=idle)
    with pytest.raises(
        RecordingError, match=r"branch 0: there is one choice only.*name branch_sizes in behavior\.json"
    ):
        recorded.splits(tmp_path / "clip.npz", 0)
    (tmp_path / "behavior.json").write_text('{"branch_sizes": [3]}')
    assert recorded.splits(tmp_path / "clip.npz", 0).train.spec.action.branch_sizes == (3,)


def trained_on(data: Path) -> dict[str, str]:
    """What an archetype's header says of its training, as `npcmeta evaluate` hands it on."""
    summary = recorded.splits(data, 0).summary
    return {digest: name for part in ("train", "validation") for name, digest in summary[part].items()}


def test_whoever_was_in_training_is_refused_under_any_name(tmp_path: Path) -> None:
    trained = trained_on(characters(tmp_path / "seen", 5))
    unseen = tmp_path / "unseen"
    for seed in range(10, 16):
        write_npz(unseen / f"player-{seed}" / "clip.npz", play(40, seed=seed))
    spec = recorded.splits(unseen, 0).train.spec
    assert len(recorded.evaluation_family(unseen, spec, trained).ids) == 6
    write_npz(unseen / "stranger" / "clip.npz", play(40, seed=2))
    with pytest.raises(RecordingError, match=r"stranger was in training as player-02; .*--include-trained"):
        recorded.evaluation_family(unseen, spec, trained)
    assert len(recorded.evaluation_family(unseen, spec).ids) == 7


def test_a_character_that_was_trained_on_in_segments_is_refused_as_well(tmp_path: Path) -> None:
    write_npz(tmp_path / "seen.npz", play(300))
    trained = trained_on(tmp_path / "seen.npz")
    spec = recorded.splits(tmp_path / "seen.npz", 0).train.spec
    with pytest.raises(RecordingError, match="was in training as seen/segment-0"):
        recorded.evaluation_family(tmp_path / "seen.npz", spec, trained)


def test_few_characters_are_evaluated_on_whole(tmp_path: Path) -> None:
    characters(tmp_path, 2, steps=1000)
    spec = recorded.splits(tmp_path, 0).train.spec
    found = recorded.evaluation_family(tmp_path, spec)
    assert (found.ids, lengths(found)) == (("player-00", "player-01"), [1000, 1000])
    assert len(found.evaluation(500).ids) == 2


def test_recordings_to_evaluate_on_have_to_fit_the_archetype(tmp_path: Path) -> None:
    characters(tmp_path, 5)
    spec = recorded.splits(tmp_path, 0).train.spec
    with pytest.raises(RecordingError, match=r"clip\.npz: observation_size is 4; expected 6"):
        recorded.evaluation_family(tmp_path, spec._replace(observation_size=6))


def test_recordings_are_asked_for_and_only_where_they_are_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="say where they are with --data PATH"):
        tasks.load_splits("recorded", None, 0)
    with pytest.raises(ValueError, match="brings its own tasks: leave out --data"):
        tasks.load_splits("overcooked", tmp_path, 0)
