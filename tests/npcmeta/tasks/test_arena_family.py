"""The arena as a task family: who is held out, and what a task holds."""

import numpy as np
import pytest
import torch
from torch import Generator

from npcmeta.tasks.arena import family, simulate
from npcmeta.tasks.arena.family import CLIP_STEPS, ArenaFamily
from npcmeta.tasks.arena.personality import TRAITS, is_held_out, personalities
from npcmeta.types import Examples


@pytest.fixture(scope="module")
def small() -> ArenaFamily:
    return ArenaFamily("test", 6, 0, arenas=2, steps=150, query_arenas=1)


def tensors(examples: Examples) -> list[torch.Tensor]:
    return [examples.observation, *examples.action, examples.action_mask, examples.weight]


def assert_same(a: Examples, b: Examples) -> None:
    for one, other in zip(tensors(a), tensors(b), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_training_and_validation_never_see_the_held_out_region():
    for part in ("train", "validation"):
        assert not is_held_out(personalities(part, 400, 0)).any()
    test = is_held_out(personalities("test", 100, 0))
    assert test[::2].all()
    assert not test[1::2].any()


def test_the_region_is_a_new_combination_of_traits_that_occur_in_training():
    train, held = personalities("train", 1000, 0), personalities("test", 100, 0)[::2]
    for trait in range(len(TRAITS)):
        inside = (held[:, trait] > train[:, trait].min()) & (held[:, trait] < train[:, trait].max())
        assert inside.mean() > 0.95


def test_characters_follow_from_part_seed_and_index():
    np.testing.assert_array_equal(personalities("test", 8, 3), personalities("test", 20, 3)[:8])
    assert not np.allclose(personalities("test", 8, 3), personalities("test", 8, 4))
    assert not np.allclose(personalities("train", 8, 3), personalities("validation", 8, 3))


def test_an_unknown_part_is_named_with_the_valid_ones():
    with pytest.raises(ValueError, match="train, validation, test"):
        personalities("tset", 3, 0)  # type: ignore[arg-type]


def test_sample_has_the_shapes_of_a_task_and_follows_its_generator(small):
    task = small.sample(Generator().manual_seed(1), 9, shots=70, query_shots=50)
    size = small.spec.observation_size
    for examples, shots in ((task.support, 70), (task.query, 50)):
        assert examples.observation.shape == (9, shots, size)
        assert examples.action.continuous.shape == (9, shots, 2)
        assert examples.action.discrete.shape == (9, shots, 1)
        assert examples.action_mask.shape == (9, shots, 5)
        assert examples.action_mask.gather(-1, examples.action.discrete).all()
    again = small.sample(Generator().manual_seed(1), 9, shots=70, query_shots=50)
    assert_same(task.support, again.support)
    assert_same(task.query, again.query)


def test_clips_are_contiguous_and_support_and_query_are_disjoint(small):
    task = small.sample(Generator().manual_seed(2), 6, shots=CLIP_STEPS, query_shots=CLIP_STEPS)
    pool = {tuple(row.tolist()): i for i, row in enumerate(small._ready().observation.flatten(0, 1))}
    for support, query in zip(task.support.observation, task.query.observation, strict=True):
        first, second = ([pool[tuple(row.tolist())] for row in clip] for clip in (support, query))
        assert set(np.diff(first)) == set(np.diff(second)) == {1}
        assert not set(first) & set(second)


def test_a_meta_batch_repeats_no_character_while_there_are_enough(small):
    drawn = small._draw_characters(Generator().manual_seed(0), 6)
    assert sorted(drawn.tolist()) == list(range(6))


def test_too_many_shots_say_what_is_there(small):
    with pytest.raises(ValueError, match="need 11 clips of 50 steps; a character of this pool has 4"):
        small.sample(Generator(), 2, shots=500, query_shots=50)


def test_evaluation_nests_its_support_sets_and_keeps_its_query_set(small):
    three, one, none = (small.evaluation(shots) for shots in (150, 50, 0))
    assert three.ids == one.ids == tuple(f"arena-test-0-{i:04d}" for i in range(6))
    assert_same(one.task.support, Examples(*_first(three.task.support, 50)))
    assert none.task.support.observation.shape[:2] == (6, 0)
    for named in (one, none):
        assert_same(named.task.query, three.task.query)


def test_evaluation_leaves_tasks_out_that_have_too_few_examples(small):
    assert len(small.evaluation(300).ids) == 6
    named = small.evaluation(301)
    assert named.ids == ()
    assert named.task.query.observation.shape[0] == 0


def test_the_query_set_is_play_that_no_support_set_holds(small):
    named = small.evaluation(300).task
    support = {tuple(row.tolist()) for row in named.support.observation.flatten(0, 1)}
    assert not support & {tuple(row.tolist()) for row in named.query.observation.flatten(0, 1)}


def test_splits_are_simulated_only_when_used(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("simulated before it was needed")

    monkeypatch.setattr(simulate, "record", refuse)
    parts = family.splits(1, train_characters=4, validation_characters=4, test_characters=4)
    assert parts.summary["test"] == [f"arena-test-1-{i:04d}" for i in range(4)]
    with pytest.raises(AssertionError, match="simulated"):
        parts.test.evaluation(50)


def test_two_builds_of_a_family_are_the_same_to_the_bit(small):
    twin = ArenaFamily("test", 6, 0, arenas=2, steps=150, query_arenas=1)
    assert_same(twin.evaluation(100).task.support, small.evaluation(100).task.support)


def _first(examples: Examples, shots: int) -> list:
    action = type(examples.action)(*(part[:, :shots] for part in examples.action))
    return [
        examples.observation[:, :shots],
        action,
        examples.action_mask[:, :shots],
        examples.weight[:, :shots],
    ]
