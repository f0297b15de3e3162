"""Reptile: the meta-gradient is the way from the weights to those that plain training reaches."""

import dataclasses

import pytest
import torch
from torch import Generator

from npcmeta.evaluate import support_nll
from npcmeta.learners.adapted_network import descend
from npcmeta.learners.reptile import STEPS, ReptileSettings, draw_minibatch, joined, network_of, train_on_minibatches
from npcmeta.types import Learner, Params, Task
from tests import toys

TASKS = 4


def small(kind: str, **changes: object) -> tuple[ReptileSettings, Learner, Params]:
    settings = dataclasses.replace(toys.small_settings("reptile", activation="tanh"), **changes)  # type: ignore[type-var]
    assert isinstance(settings, ReptileSettings)
    learner = settings.build(toys.spec(kind))
    return settings, learner, toys.double_params(learner.init(Generator().manual_seed(0)))


def ragged_task(kind: str) -> Task:
    task = toys.double_task(toys.draw_task(kind, TASKS, 12, query_shots=9))
    weight = (torch.arange(12) < torch.tensor([[0], [2], [5], [12]])).double()
    return task._replace(support=task.support._replace(weight=weight))


def meta_gradient(learner: Learner, meta: Params, task: Task, seed: int = 0) -> Params:
    leaves = {key: value.clone().requires_grad_() for key, value in meta.items()}
    learner.meta_loss(leaves, task, Generator().manual_seed(seed))[0].backward()
    return {key: value.grad for key, value in leaves.items() if value.grad is not None}


@pytest.mark.parametrize("kind", toys.ACTIONS)
@pytest.mark.parametrize("minibatch", [0, 5])
def test_meta_gradient_is_exactly_the_way_from_the_weights_reached(kind: str, minibatch: int) -> None:
    settings, learner, meta = small(kind, minibatch=minibatch)
    task = ragged_task(kind)
    start = learner.begin(meta, TASKS, torch.zeros(TASKS, 0))
    reached = train_on_minibatches(
        settings, network_of(settings, learner.head, toys.spec(kind)), start, task, Generator().manual_seed(0)
    )
    assert all(float((reached[key][0] - meta[key]).norm()) > 1e-3 for key in ("0.weight", "1.bias"))
    toys.assert_close(
        meta_gradient(learner, meta, task), {key: meta[key] - value.mean(0) for key, value in reached.items()}, 1e-12
    )


def test_the_loss_before_adapting_counts_as_much_as_was_asked_for() -> None:
    task = ragged_task("mixed")
    gradients = []
    for share in (0.0, 0.5):
        _, learner, meta = small("mixed", unadapted_share=share, inner_rate=0.2, training_steps=4)
        gradients.append(meta_gradient(learner, meta, task))
    leaves = {key: value.clone().requires_grad_() for key, value in meta.items()}
    start = learner.begin(leaves, TASKS, torch.zeros(TASKS, 0))
    support_nll(learner, leaves, start, task.query).mean().backward()
    expected = {key: gradients[0][key] + 0.5 * 0.2 * 4 * leaf.grad for key, leaf in leaves.items()}
    toys.assert_close(gradients[1], expected, 1e-12)


def test_without_minibatches_a_task_is_trained_on_as_a_character_is_adapted() -> None:
    settings, learner, meta = small("mixed", minibatch=0, training_steps=3, inner_steps=3)
    task = ragged_task("mixed")
    start = learner.begin(meta, TASKS, torch.zeros(TASKS, 0))
    reached = train_on_minibatches(
        settings, network_of(settings, learner.head, toys.spec("mixed")), start, task, Generator().manual_seed(0)
    )
    toys.assert_same_bits(reached, learner.update(meta, start, joined(task)))


def test_every_step_of_training_is_on_a_minibatch_of_its_own() -> None:
    settings, learner, meta = small("mixed", minibatch=5, training_steps=3)
    network, task = network_of(settings, learner.head, toys.spec("mixed")), ragged_task("mixed")
    start, generator = learner.begin(meta, TASKS, torch.zeros(TASKS, 0)), Generator().manual_seed(0)
    expected = start
    for _ in range(3):
        drawn = draw_minibatch(joined(task), 5, generator)
        *_, expected = descend(settings, network, expected, drawn, 1)
    toys.assert_same_bits(train_on_minibatches(settings, network, start, task, Generator().manual_seed(0)), expected)


def test_a_minibatch_holds_no_example_twice_and_no_padding_while_there_are_others() -> None:
    examples = ragged_task("mixed").support
    numbered = examples._replace(observation=torch.arange(12.0).double().expand(TASKS, 12).unsqueeze(-1))
    drawn = draw_minibatch(numbered, 5, Generator().manual_seed(0))
    assert drawn.weight.sum(-1).tolist() == [0, 2, 5, 5]
    for row, weight in zip(drawn.observation.squeeze(-1), drawn.weight, strict=True):
        assert len(set(row.tolist())) == 5
        assert (row[weight > 0] < 12).all()
    assert set(drawn.observation[1, drawn.weight[1] > 0, 0].tolist()) == {0.0, 1.0}
    other = draw_minibatch(numbered, 5, Generator().manual_seed(1))
    assert not torch.equal(other.observation[3], drawn.observation[3])


def test_a_drawn_example_keeps_what_belongs_to_it() -> None:
    examples = ragged_task("mixed").support
    drawn = draw_minibatch(examples, 3, Generator().manual_seed(0))
    for task in range(TASKS):
        for taken in range(3):
            (row,) = (examples.observation[task] == drawn.observation[task, taken]).all(-1).nonzero().flatten().tolist()
            assert torch.equal(examples.action.continuous[task, row], drawn.action.continuous[task, taken])
            assert torch.equal(examples.action.discrete[task, row], drawn.action.discrete[task, taken])
            assert torch.equal(examples.action_mask[task, row], drawn.action_mask[task, taken])
            assert examples.weight[task, row] == drawn.weight[task, taken]


def test_metrics_are_of_the_query_set_after_adapting_to_the_support_set_alone() -> None:
    _, learner, meta = small("mixed")
    task = ragged_task("mixed")
    _, metrics = learner.meta_loss(meta, task, Generator().manual_seed(0))
    start = learner.begin(meta, TASKS, torch.zeros(TASKS, 0))
    adapted = support_nll(learner, meta, learner.update(meta, start, task.support), task.query).mean()
    assert metrics["adapted_nll"] == pytest.approx(float(adapted))
    assert metrics["unadapted_nll"] == pytest.approx(float(support_nll(learner, meta, start, task.query).mean()))


def test_the_number_of_steps_is_left_to_validation() -> None:
    (choice,) = ReptileSettings(inner_rate=0.3).choices(toys.spec("mixed"))
    assert choice.alternatives == [{"inner_steps": steps} for steps in STEPS]
