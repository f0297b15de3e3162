"""ProtoNets against their definition, written out in loops, and what they do where a choice was never seen."""

import pytest
import torch
from torch import Generator, Tensor

from npcmeta.learners.memory import MIN_PRIOR
from npcmeta.types import Examples, Learner, Params
from tests import toys


def built(**changes: object) -> tuple[Learner, Params]:
    learner = toys.small_settings("protonet", activation="tanh", **changes).build(toys.spec("discrete"))
    meta = learner.init(Generator().manual_seed(0))
    return learner, toys.double_params(meta | {"frequency": torch.full((1,), 0.5)})


def embedded(meta: Params, observation: Tensor) -> Tensor:
    hidden = torch.tanh(observation @ meta["features.0.weight"] + meta["features.0.bias"])
    return hidden @ meta["embedding.0.weight"] + meta["embedding.0.bias"]


def logits_of(meta: Params, support: Examples, query: Tensor, prior_examples: float) -> Tensor:
    """Head parameters of one query observation [O] for the first task, choice by choice."""
    found = []
    for branch, size in enumerate(toys.ACTIONS["discrete"].branch_sizes):
        for choice in range(size):
            column = len(found)
            count = MIN_PRIOR + prior_examples * meta["prior.count"][column].exp()
            total = count * meta["prior.prototype"][column]
            for example, taken in enumerate(support.action.discrete[0, :, branch].tolist()):
                if taken == choice:
                    total = total + support.weight[0, example] * embedded(meta, support.observation[0, example])
                    count = count + support.weight[0, example]
            distance = (embedded(meta, query) - total / count).square().sum()
            found.append(meta["frequency"][0] * count.log() - distance)
    return torch.stack(found)


def test_logits_are_negative_squared_distances_to_the_means_and_how_often_each_was_chosen() -> None:
    learner, meta = built(prior_examples=2.0)
    task = toys.double_task(toys.draw_task("discrete", 1, 7))
    support = task.support._replace(weight=torch.tensor([[1.0, 2.0, 0.0, 1.0, 0.5, 1.0, 1.0]], dtype=torch.float64))
    state = learner.update(meta, learner.begin(meta, 1, torch.zeros(1, 0)), support)
    found = learner.predict(meta, state, task.query.observation)[0]
    for row, observation in enumerate(task.query.observation[0]):
        expected = logits_of(meta, support, observation, 2.0)
        for one, other in zip(found[row].split((3, 2)), expected.split((3, 2)), strict=True):
            torch.testing.assert_close(one.softmax(0), other.softmax(0), rtol=1e-10, atol=1e-10)


def test_a_choice_that_nobody_made_keeps_its_prior_prototype() -> None:
    learner, meta = built()
    support = toys.double(toys.draw_task("discrete", 2, 20).support)
    never = support.action.discrete.clamp_min(1)  # choice 0 of both branches, columns 0 and 3
    support = support._replace(action=support.action._replace(discrete=never))
    moved = learner.embed(meta, learner.update(meta, learner.begin(meta, 2, torch.zeros(2, 0)), support))
    by_choice = moved.unflatten(1, (5, -1)).abs().amax(-1)
    assert by_choice[:, [0, 3]].max() < 1e-12
    assert by_choice[:, [1, 2, 4]].min() > 1e-3


@pytest.mark.parametrize("prior", [0.0, 5.0])
def test_without_examples_the_policy_is_a_linear_one_on_the_embedding(prior: float) -> None:
    learner, meta = built(prior_examples=prior)
    query = toys.double(toys.draw_task("discrete", 1, 0).query)
    found = learner.predict(meta, learner.begin(meta, 1, torch.zeros(1, 0)), query.observation)[0]
    prototype = meta["prior.prototype"]
    bias = 0.5 * (MIN_PRIOR + prior * meta["prior.count"].exp()).log() - prototype.square().sum(-1)
    expected = embedded(meta, query.observation[0]) @ (2 * prototype.T) + bias
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_equal_counts_leave_the_frequency_without_effect() -> None:
    """As in the paper's episodes, where every class has as many examples."""
    learner, meta = built()
    task = toys.double_task(toys.draw_task("discrete", 1, 6))
    balanced = torch.stack([torch.arange(6) % 3, torch.arange(6) % 2], -1).unsqueeze(0)
    support = task.support._replace(action=task.support.action._replace(discrete=balanced))
    outputs = []
    for frequency in (0.0, 3.0):
        changed = meta | {"frequency": torch.full((1,), frequency, dtype=torch.float64)}
        state = learner.update(changed, learner.begin(changed, 1, torch.zeros(1, 0)), support)
        outputs.append(learner.predict(changed, state, task.query.observation).split((3, 2), -1))
    for without, strong in zip(*outputs, strict=True):
        torch.testing.assert_close(without.softmax(-1), strong.softmax(-1), rtol=1e-10, atol=1e-10)


def test_dropout_is_for_training_only() -> None:
    learner, meta = built(dropout=0.5)
    task = toys.double_task(toys.draw_task("discrete", 4, 5))
    losses = {float(learner.meta_loss(meta, task, Generator().manual_seed(seed))[0]) for seed in (0, 1)}
    assert len(losses) == 2
    state = learner.begin(meta, 4, torch.zeros(4, 0))
    first, again = (learner.predict(meta, state, task.query.observation) for _ in range(2))
    assert torch.equal(first, again)
