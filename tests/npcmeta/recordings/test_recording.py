"""One timeline: cutting, joining, and what has to hold for it."""

from __future__ import annotations

import numpy as np
import pytest

from npcmeta.recordings.recording import RecordingError, check, check_branch_sizes, check_extent, cut, join
from tests.npcmeta.recordings.plays import assert_same, masked, play


def test_what_is_cut_apart_and_joined_is_the_same_but_for_the_new_episode() -> None:
    whole = masked(play(12, continuous=2, episode=6))
    joined = join([cut(whole, 0, 4), cut(whole, 4, 12)])
    names = ("observations", "continuous_actions", "discrete_actions", "action_masks", "rewards")
    assert_same(joined, whole, *names)
    assert np.flatnonzero(joined.episode_starts).tolist() == [0, 4, 6]
    assert np.flatnonzero(whole.episode_starts).tolist() == [0, 6]


def test_a_cut_keeps_only_its_own_steps() -> None:
    part = cut(play(12), 3, 7)
    assert part.steps == 4
    assert {len(column) for column in part[:6]} == {4}


@pytest.mark.parametrize("sizes", [(0,), (2, -1), (2,) * 65, (4096, 2), (1 << 62, 1 << 62)])
def test_branches_are_bounded(sizes: tuple[int, ...]) -> None:
    with pytest.raises(RecordingError, match="at most 64 branches of at least 1 and together at most 4096 choices"):
        check_branch_sizes(sizes, "clip.npz")


def test_memory_is_bounded_before_it_is_taken() -> None:
    check_extent(1_000_000, 90, 0, (6,), "clip.npz")
    with pytest.raises(RecordingError, match=r"clip.npz: 1,000,000 steps take .* split the timeline"):
        check_extent(1_000_000, 90, 0, (1000,), "clip.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": np.zeros(3, dtype=np.float32)}, r"rewards has shape \(3,\); expected \(12,\)"),
        ({"discrete_actions": np.zeros((12, 1), dtype=np.int64)}, r"discrete_actions has shape \(12, 1\)"),
        ({"observations": np.zeros((12, 0), dtype=np.float32)}, "expected at least one step of 1 to 16384 numbers"),
        ({"continuous_actions": np.zeros((12, 5000), dtype=np.float32)}, "expected at most 4096"),
        ({"tick_rate_hz": 2000.0}, "the tick rate is 2000.0 Hz"),
    ],
)
def test_a_recording_that_does_not_hold_together_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(RecordingError, match=message):
        check(play(12)._replace(**changes), "clip.npz")
