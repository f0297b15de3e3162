"""What an inspection says of recordings, in numbers counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from npcmeta.recordings import inspect
from npcmeta.recordings.demo_records import read_records
from npcmeta.recordings.recording import Recording, unmasked
from tests.npcmeta.recordings import unity_bytes as unity
from tests.npcmeta.recordings.plays import play


def recording() -> Recording:
    masks = unmasked(4, (3,))
    masks[0, 2] = False
    return Recording(
        np.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0], [3.0, 5.0]], dtype=np.float32),
        np.array([[0.5], [-0.5], [1.0], [0.5]], dtype=np.float32),
        np.array([[0], [1], [1], [1]]),
        masks,
        np.array([False, False, False, True]),
        np.array([1.0, 2.0, 3.0, 6.0], dtype=np.float32),
        (3,),
    )


def test_a_summary_counts_what_is_there() -> None:
    summary = inspect.summarise([recording(), recording()])
    assert summary.steps == 8
    assert summary.episode_lengths == (3, 1, 3, 1)
    assert summary.reward_per_episode == 6.0
    assert summary.branches[0].taken.tolist() == [0.25, 0.75, 0.0]
    assert summary.branches[0].allowed.tolist() == [1.0, 1.0, 0.75]
    assert summary.observations.mean.tolist() == [1.5, 5.0]
    assert summary.observations.std.tolist() == [1.25**0.5, 0.0]
    assert (summary.observations.low.tolist(), summary.observations.high.tolist()) == ([0.0, 5.0], [3.0, 5.0])
    assert summary.observations.constant == [1]


def test_remarks_name_the_columns_and_choices() -> None:
    assert inspect.remarks(inspect.summarise([recording()])) == [
        "1 of 2 observations never change: 1",
        "branch 0: never taken: 2",
    ]
    fine = inspect.summarise([play(20, continuous=1)])
    assert inspect.remarks(fine) == inspect.problems(fine) == inspect.problems(inspect.summarise([recording()])) == []


def test_a_number_that_stands_for_nothing_is_pointed_out() -> None:
    """One such value in ten makes a standardised column of two numbers: that one, and everything else."""
    clip = play(200)
    clip.observations[::10, 2] = 1e9
    clip.observations[:, 3] = np.arange(200) % 20 == 0  # a switch is none
    (remark,) = inspect.remarks(inspect.summarise([clip]))
    assert "a few values lie so far out that the others look alike to a learner: 2;" in remark


def test_a_branch_without_a_decision_is_a_problem() -> None:
    idle = play(6)._replace(discrete_actions=np.zeros((6, 2), dtype=np.int64), branch_sizes=(4, 1))
    summary = inspect.summarise([idle])
    assert inspect.remarks(summary) == ["branch 0 is always 0: nothing can be learned of it"]
    assert inspect.problems(summary)[0].startswith("branch 1 has one choice only")


def test_the_zero_signature_of_a_file_of_unitys(tmp_path: Path) -> None:
    (tmp_path / "a.demo").write_bytes(unity.two_episodes())
    found = inspect.zero_signature(read_records(tmp_path / "a.demo"))
    assert found == inspect.ZeroSignature(episodes=2, zeros=2, elsewhere=0.0)
    assert found.present


def test_the_zero_signature_is_missing_where_actions_do_not_stand_late(tmp_path: Path) -> None:
    records = [unity.record([unity.sensor([1.0])], discrete=[c], done=d) for c, d in [(1, False), (0, True), (0, True)]]
    (tmp_path / "a.demo").write_bytes(unity.demo(records, unity.brain([2])))
    found = inspect.zero_signature(read_records(tmp_path / "a.demo"))
    assert found == inspect.ZeroSignature(episodes=2, zeros=1, elsewhere=1.0)
    assert not found.present


def test_shots_need_twice_as_many_steps() -> None:
    assert inspect.evaluable([100, 101, 199, 200], (0, 50, 100, 101)) == {0: 4, 50: 4, 100: 1, 101: 0}
