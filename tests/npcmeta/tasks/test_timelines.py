"""Timelines as tasks: the future is never in a support set that is judged on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from npcmeta.recordings.recording import Recording, unmasked
from npcmeta.tasks.timelines import TimelineFamily, as_examples
from npcmeta.types import ActionSpec, BehaviorSpec, Examples
from tests.npcmeta.recordings.plays import masked, play

SPEC = BehaviorSpec(2, ActionSpec(0, (2,)), 10.0)


def clock(who: int, steps: int) -> Recording:
    """Somebody who sees who they are and what step it is."""
    seen = np.stack([np.full(steps, who), np.arange(steps)], axis=1).astype(np.float32)
    choices = (np.arange(steps) % 2)[:, None]
    none = np.zeros((steps, 0), dtype=np.float32)
    return Recording(
        seen, none, choices, unmasked(steps, (2,)), np.arange(steps) == 0, np.zeros(steps, dtype=np.float32), (2,)
    )


def family(*lengths: int) -> TimelineFamily:
    ids = [f"player-{who}" for who in range(len(lengths))]
    return TimelineFamily(SPEC, ids, [clock(who, steps) for who, steps in enumerate(lengths)])


def steps(examples: Examples, row: int) -> list[int]:
    """The steps that one task's examples of weight 1 were taken from; all are of one player."""
    seen = examples.observation[row][examples.weight[row] > 0]
    assert len(seen[:, 0].unique()) <= 1
    return seen[:, 1].int().tolist()


def test_the_support_set_is_the_first_shots_and_the_query_set_the_second_half() -> None:
    named = family(9, 20).evaluation(4)
    assert named.ids == ("player-0", "player-1")
    assert [steps(named.task.support, row) for row in (0, 1)] == [[0, 1, 2, 3]] * 2
    assert [steps(named.task.query, row) for row in (0, 1)] == [[4, 5, 6, 7, 8], [*range(10, 20)]]


def test_the_query_set_is_the_same_for_every_number_of_shots() -> None:
    queries = [family(20, 21).evaluation(shots).task.query for shots in (0, 3, 10)]
    for query in queries[1:]:
        for one, other in zip(query, queries[0], strict=True):
            pairs = zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
            assert all(torch.equal(a, b) for a, b in pairs)


def test_whoever_has_fewer_than_twice_the_shots_is_left_out() -> None:
    timelines = family(9, 10, 11, 3)
    assert timelines.evaluation(5).ids == ("player-1", "player-2")
    assert timelines.evaluation(0).ids == timelines.ids
    assert timelines.evaluation(6).ids == ()
    assert timelines.evaluation(6).task.query.weight.shape[0] == 0


def test_shorter_query_sets_are_padded_with_weight_zero() -> None:
    query = family(10, 30).evaluation(5).task.query
    assert query.weight.sum(-1).tolist() == [5.0, 15.0]
    assert query.weight.shape == (2, 15)


@pytest.mark.parametrize(("shots", "query_shots"), [(1, 1), (5, 20), (40, 3), (200, 100)])
def test_drawn_tasks_stay_within_a_timeline_and_never_share_a_step(shots: int, query_shots: int) -> None:
    lengths = (2, 3, 7, 50, 400)
    task = family(*lengths).sample(Generator().manual_seed(1), 200, shots=shots, query_shots=query_shots)
    for row in range(200):
        support, query = steps(task.support, row), steps(task.query, row)
        length = lengths[int(task.query.observation[row, 0, 0])]
        assert 1 <= len(support) <= shots
        assert 1 <= len(query) <= query_shots
        assert not set(support) & set(query)
        assert max(support + query) < length
        assert support == [*range(support[0], support[0] + len(support))]
        assert query == sorted(query)


def test_half_of_the_drawn_tasks_are_as_in_evaluation_and_cover_the_second_half() -> None:
    task = family(100).sample(Generator().manual_seed(2), 400, shots=10, query_shots=20)
    ahead = [row for row in range(400) if steps(task.support, row)[0] == 0 and steps(task.query, row)[0] >= 50]
    assert 160 < len(ahead) < 240
    spread = [row for row in ahead if np.ptp(steps(task.query, row)) > 30]
    assert len(spread) > 150
    for row in spread:  # one step from each twentieth of the second half, which is two steps and a half
        for part, step in enumerate(steps(task.query, row)):
            assert int(2.5 * part) <= step - 50 < 2.5 * (part + 1)


def test_a_seed_fixes_what_is_drawn() -> None:
    one, other = (family(30, 40).sample(Generator().manual_seed(3), 8, shots=4, query_shots=5) for _ in range(2))
    assert torch.equal(one.support.observation, other.support.observation)
    assert torch.equal(one.query.observation, other.query.observation)


def test_a_recording_becomes_one_character_of_as_many_examples() -> None:
    recording = masked(play(7, continuous=2))
    examples = as_examples(recording)

    def same(found: Tensor, expected: np.ndarray) -> bool:
        return found.shape[0] == 1 and np.array_equal(found[0].numpy(), expected)

    assert same(examples.observation, recording.observations)
    assert same(examples.action.continuous, recording.continuous_actions)
    assert same(examples.action.discrete, recording.discrete_actions)
    assert same(examples.action_mask, recording.action_masks)
    assert examples.weight.tolist() == [[1.0] * 7]
