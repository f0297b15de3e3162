import dataclasses

import pytest
import torch
from torch import Generator, Tensor

from npcmeta import tasks, training
from npcmeta.evaluate import support_nll
from npcmeta.learners import bayes
from npcmeta.learners.bayes import BayesSettings
from npcmeta.tasks.arena.family import SPEC as ARENA
from npcmeta.types import Action, ActionSpec, BehaviorSpec, Examples, Learner, Params, Task
from tests import toys

SMALL = BayesSettings(
    hidden=(12,),
    members=2,
    features=6,
    feature_layer=12,
    encoder=(12,),
    code=6,
    dropout=0.0,
    feature_dropout=0.0,
    mean_share=1.0,
    spread_share=1.0,
)


def trained(settings: BayesSettings, kind: str) -> tuple[Learner, Params]:
    learner = settings.build(toys.spec(kind))
    return learner, trained_on(toys.ToyFamily(kind), learner, steps=80)


def trained_on(family: "toys.ToyFamily | Signs", learner: Learner, steps: int) -> Params:
    generator = Generator().manual_seed(0)
    meta = {key: value.requires_grad_() for key, value in learner.init(generator).items()}
    optimizer = torch.optim.Adam(list(meta.values()), lr=1e-2)
    for step in range(steps):
        task = family.sample(generator, 8, shots=(1, 5, 20, 100)[step % 4], query_shots=20)
        optimizer.zero_grad()
        learner.meta_loss(meta, task, generator)[0].backward()
        optimizer.step()
    return {key: value.detach() for key, value in meta.items()}


@pytest.mark.parametrize("kind", list(toys.ACTIONS))
@pytest.mark.parametrize("context", [0, 4])
def test_characters_are_learned_and_the_unadapted_one_is_the_average(kind: str, context: int) -> None:
    learner, meta = trained(dataclasses.replace(SMALL, context=context), kind)
    task = toys.draw_task(kind, 32, 100, seed=5)
    start = learner.begin(meta, 32, torch.zeros(32, 0))
    reached = learner.update(meta, start, task.support)
    before, after = (support_nll(learner, meta, state, task.query).mean() for state in (start, reached))
    assert after < before - 0.2
    alone = [torch.cat([learner.predict(single(meta, member), start, task.query.observation)]) for member in range(2)]
    together = learner.predict(meta, start, task.query.observation)
    torch.testing.assert_close(together, (alone[0] + alone[1]) / 2)


class Signs:
    """Characters who differ in what the product of two observations means to them, and to nobody else."""

    def sample(self, generator: Generator, num_tasks: int, *, shots: int, query_shots: int) -> Task:
        taste = torch.randn(num_tasks, 1, generator=generator)
        return Task(*(self._examples(generator, taste, count) for count in (shots, query_shots)))

    def _examples(self, generator: Generator, taste: Tensor, count: int) -> Examples:
        rows = len(taste), count
        observation = torch.randn(*rows, 2, generator=generator)
        liked = (4 * taste * observation.prod(-1) + torch.randn(*rows, generator=generator) > 0).long()
        action = Action(torch.zeros(*rows, 0), liked.unsqueeze(-1))
        return Examples(observation, action, torch.ones(*rows, 2, dtype=torch.bool), torch.ones(rows))


def test_features_see_what_is_of_no_use_to_the_average() -> None:
    settings = dataclasses.replace(SMALL, hidden=(1,), members=1, feature_layer=16)
    learner = settings.build(BehaviorSpec(2, ActionSpec(0, (2,)), 10.0))
    meta = trained_on(Signs(), learner, steps=300)
    task = Signs().sample(Generator().manual_seed(5), 64, shots=100, query_shots=100)
    start = learner.begin(meta, 64, torch.zeros(64, 0))
    reached = learner.update(meta, start, task.support)
    before, after = (float(support_nll(learner, meta, state, task.query).mean()) for state in (start, reached))
    assert before > 0.6
    assert after < 0.48


def single(meta: Params, member: int) -> Params:
    """The same meta-parameters with one member in the place of both."""
    own = {key.removeprefix(f"member.{member}."): value for key, value in meta.items() if f"member.{member}." in key}
    return meta | {f"member.{place}.{key}": value for key, value in own.items() for place in range(2)}


@pytest.mark.parametrize("family", ["overcooked", "arena"])
def test_a_character_is_small(family: str) -> None:
    spec = ARENA if family == "arena" else BehaviorSpec(91, ActionSpec(0, (6,)), 6.7)
    settings = training.choose_settings(family, "bayes", {})
    learner = settings.build(spec)
    state = learner.begin(learner.init(Generator().manual_seed(0)), 1, torch.zeros(1, 0))
    assert sum(4 * state[key].numel() for key in learner.acting) <= 5000


def test_people_adapt_by_the_posterior_unless_told_otherwise() -> None:
    assert {name: tasks.find(name).learner for name in ("overcooked", "recorded")} == {
        "overcooked": "bayes", "recorded": "bayes",
    }  # fmt: skip


def test_few_examples_move_a_character_less_than_many() -> None:
    learner, meta = trained(SMALL, "discrete")
    start = learner.begin(meta, 16, torch.zeros(16, 0))
    sizes = [
        float(learner.update(meta, start, toys.draw_task("discrete", 16, shots).support)["weights"].norm())
        for shots in (1, 10, 100)
    ]
    assert 0 < sizes[0] < sizes[1] < sizes[2]


def test_a_part_of_what_continuous_actions_say_is_believed() -> None:
    learner, meta = trained(SMALL, "mixed")
    support = toys.draw_task("mixed", 4, 20).support
    doubting = dataclasses.replace(SMALL, mean_share=0.5, spread_share=0.25).build(toys.spec("mixed"))
    start = learner.begin(meta, 4, torch.zeros(4, 0))
    whole, part = (each.update(meta, start, support)["weights"] for each in (learner, doubting))
    means = toys.spec("mixed").action.continuous_size
    for share, rows in ((0.5, slice(means)), (0.25, slice(means, 2 * means)), (1.0, slice(2 * means, None))):
        torch.testing.assert_close(part[..., rows, :], share * whole[..., rows, :])


def test_what_examples_count_for_is_chosen_last_and_only_on_evidence() -> None:
    shares, less, more, later = SMALL.choices(toys.spec("mixed"))
    assert [(each["mean_share"], each["spread_share"]) for each in shares.alternatives] == list(bayes.SHARES)
    assert [each["tempering"] for each in less.alternatives] == pytest.approx([0.06, 0.02, 0.002])
    assert [each["tempering"] for each in more.alternatives] == pytest.approx([0.6])
    assert [each["prior_examples"] for each in later.alternatives] == [30.0, 100.0]
    assert (shares.doubt, less.doubt, more.doubt, later.doubt) == (None, 0.0, 2.0, 0.0)
    assert SMALL.choices(toys.spec("discrete")) == [less, more, later]
    assert dataclasses.replace(SMALL, context=4).choices(toys.spec("mixed")) == []


@pytest.mark.parametrize("kind", list(toys.ACTIONS))
@pytest.mark.parametrize("context", [0, 4])
def test_examples_in_parts_say_what_they_say_at_once(kind: str, context: int) -> None:
    learner, meta = trained(dataclasses.replace(SMALL, context=context), kind)
    task = toys.draw_task(kind, 64, 100, seed=5)
    start = learner.begin(meta, 64, torch.zeros(64, 0))
    at_once, in_parts = learner.update(meta, start, task.support), start
    for first in range(0, 100, 10):
        in_parts = learner.update(meta, in_parts, examples_from(task.support, first, 10))
    states = (start, at_once, in_parts)
    unadapted, best, reached = (support_nll(learner, meta, state, task.query).mean() for state in states)
    assert reached - best < 0.05 * (unadapted - best)
    for key in learner.acting:
        apart, moved = (in_parts[key] - at_once[key]).norm(), (at_once[key] - start[key]).norm()
        assert apart < (0.22 if context else 0.45) * moved  # what earlier examples bend is not asked for anew


def examples_from(examples: Examples, first: int, count: int) -> Examples:
    return Examples(
        examples.observation[:, first : first + count],
        Action(*(part[:, first : first + count] for part in examples.action)),
        examples.action_mask[:, first : first + count],
        examples.weight[:, first : first + count],
    )
