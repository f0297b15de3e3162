"""Meta-SGD: MAML whose step sizes are learned one by one."""

import dataclasses

import torch
from torch import Generator

from npcmeta.types import Learner, Params, Task
from tests import toys


def small(name: str = "meta_sgd") -> tuple[Learner, Params]:
    settings = dataclasses.replace(toys.small_settings(name, activation="tanh"), inner_steps=2)  # type: ignore[type-var]
    learner = settings.build(toys.spec("mixed"))
    return learner, toys.double_params(learner.init(Generator().manual_seed(0)))


def draw() -> Task:
    return toys.double_task(toys.draw_task("mixed", 4, 5))


def adapted(learner: Learner, meta: Params, task: Task) -> Params:
    return learner.update(meta, learner.begin(meta, 4, torch.zeros(4, 0)), task.support)


def test_untrained_it_is_maml() -> None:
    (learner, meta), (maml, weights) = small(), small("maml")
    toys.assert_same_bits({key: meta[key] for key in weights}, weights)
    toys.assert_close(adapted(learner, meta, draw()), adapted(maml, weights, draw()), 1e-12)


def test_a_weight_moves_as_far_as_its_own_rate_says() -> None:
    learner, meta = small()
    start = learner.begin(meta, 4, torch.zeros(4, 0))
    plain = next_state(learner, meta, draw())
    rates = torch.tensor([[2.0], [-3.0], [-1.0]], dtype=torch.float64)  # thrice as far, back twice as far, not at all
    scaled = next_state(learner, meta | {"rate.0.weight": rates.expand(3, 12)}, draw())
    moved = plain["0.weight"] - start["0.weight"]
    expected = start["0.weight"] + (1 + rates) * moved
    torch.testing.assert_close(scaled["0.weight"], expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(scaled["0.bias"], plain["0.bias"])


def next_state(learner: Learner, meta: Params, task: Task) -> Params:
    """The state after one step."""
    steps = learner.steps(meta, learner.begin(meta, 4, torch.zeros(4, 0)), task.support)
    next(steps)
    return next(steps)


def test_rates_are_trained() -> None:
    learner, meta = small()
    leaves = {key: value.requires_grad_() for key, value in meta.items()}
    loss, _ = learner.meta_loss(leaves, draw(), Generator().manual_seed(0))
    gradients = torch.autograd.grad(loss, [leaves[key] for key in leaves if key.startswith("rate.")])
    assert len(gradients) == 4
    assert all(bool((gradient != 0).any()) for gradient in gradients)
