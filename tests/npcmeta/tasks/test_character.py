"""Art styles: the held-out corner is apart, what is judged stays the same, and styles differ enough to matter."""

import pytest
import torch
from torch import Generator

from npcmeta.tasks import character
from npcmeta.tasks.character import BRIEF, PARAMETERS, CharacterFamily


def test_briefs_and_avatars_have_the_sizes_of_the_task() -> None:
    task = CharacterFamily(1, held_out=False).sample(Generator().manual_seed(0), 6, shots=3, query_shots=7)
    assert task.support.observation.shape == (6, 3, BRIEF) == (6, 3, 100)
    assert task.query.action.continuous.shape == (6, 7, PARAMETERS) == (6, 7, 50)
    for part in task:
        assert part.action.continuous.abs().max() <= 1
        assert part.observation.isfinite().all()
        assert torch.equal(part.weight, torch.ones(part.weight.shape))


def test_no_brief_that_is_judged_was_shown() -> None:
    task = CharacterFamily(1, held_out=False).sample(Generator().manual_seed(0), 6, shots=5, query_shots=7)
    briefs = torch.cat([part.observation for part in task], 1)
    assert len(briefs.flatten(0, 1).unique(dim=0)) == 6 * (5 + 7)


def test_no_training_style_lies_where_the_held_out_ones_are() -> None:
    seen = character.draw_traits(Generator().manual_seed(0), 20_000, held_out=False)
    unseen = character.draw_traits(Generator().manual_seed(1), 20_000, held_out=True)
    assert not character.is_held_out(seen).any()
    assert character.is_held_out(unseen).all()
    for traits in (seen, unseen):
        assert traits.abs().max() <= 1
    assert (seen.amin(0) < -0.99).all()
    assert (seen.amax(0) > 0.99).all()


def test_only_the_test_styles_are_of_the_held_out_corner(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, draw = [], character.draw_traits

    def remember(generator: Generator, num_tasks: int, *, held_out: bool) -> torch.Tensor:
        drawn.append(draw(generator, num_tasks, held_out=held_out))
        return drawn[-1]

    monkeypatch.setattr(character, "draw_traits", remember)
    splits = character.splits(0)
    for part in (splits.train, splits.validation, splits.test):
        part.sample(Generator().manual_seed(0), 500, shots=1, query_shots=1)
    assert [bool(character.is_held_out(traits).any()) for traits in drawn] == [False, False, True]
    assert character.is_held_out(drawn[2]).all()


def test_the_same_styles_and_queries_for_every_number_of_shots() -> None:
    family = CharacterFamily(3, held_out=True, num_evaluation=12)
    none, five, twenty = (family.evaluation(shots) for shots in (0, 5, 20))
    assert none.ids == five.ids == twenty.ids
    assert none.task.support.observation.shape == (12, 0, BRIEF)
    for other in (five, twenty):
        assert torch.equal(other.task.query.observation, none.task.query.observation)
        assert torch.equal(other.task.query.action.continuous, none.task.query.action.continuous)
    assert torch.equal(twenty.task.support.observation[:, :5], five.task.support.observation)


def test_more_shots_than_were_drawn_leave_no_task() -> None:
    family = CharacterFamily(3, held_out=True, num_evaluation=12)
    most, more = family.evaluation(20), family.evaluation(21)
    assert torch.equal(family.evaluation(5).task.query.observation, most.task.query.observation)
    assert most.task.support.weight.shape[1] == 20
    assert more.ids == ()
    assert more.task.support.weight.shape[0] == more.task.query.weight.shape[0] == 0


def test_ids_and_styles_stay_what_they_are() -> None:
    """A change here would silently make every published number incomparable."""
    named = character.splits(0).test.evaluation(1)
    assert (named.ids[0], named.ids[-1], len(set(named.ids))) == ("style-3-0000", "style-3-0199", 200)
    assert named.task.query.action.continuous[0, 0, :3].tolist() == pytest.approx(FIRST_ANSWERS, abs=1e-4)


FIRST_ANSWERS = [-0.96666, 0.16657, -0.08285]


def test_an_artist_is_consistent_and_others_answer_otherwise() -> None:
    """The noise of one artist is small against what tells styles apart; otherwise there were nothing to adapt to."""
    world = CharacterFamily(1, held_out=False)._world
    generator = Generator().manual_seed(0)
    brief = torch.randn(1, 50, BRIEF, generator=generator).expand(40, 50, BRIEF)
    traits = character.draw_traits(generator, 40, held_out=False)
    first, again = (character.draw_avatars(world, traits, brief, generator) for _ in range(2))
    noise = (first - again).square().mean() / 2
    between_styles = first.var(0).mean()
    assert between_styles > 20 * noise
