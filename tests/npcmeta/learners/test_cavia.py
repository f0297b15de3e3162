"""CAVIA: what all characters share stays shared, and a character is one small vector."""

import dataclasses

import torch
from torch import Generator

from npcmeta.evaluate import support_nll
from npcmeta.learners.cavia import CaviaSettings
from npcmeta.types import Learner, Params
from tests import toys


def small(**changes: object) -> tuple[Learner, Params]:
    settings = dataclasses.replace(toys.small_settings("cavia", activation="tanh", context=3), **changes)  # type: ignore[type-var]
    learner = settings.build(toys.spec("mixed"))
    return learner, toys.double_params(learner.init(Generator().manual_seed(0)))


def test_a_character_is_its_context_and_begins_at_the_origin() -> None:
    learner, meta = small()
    state = learner.begin(meta, 4, torch.zeros(4, 0))
    assert {key: value.shape for key, value in state.items()} == {"context": (4, 3)}
    assert not state["context"].any()
    reached = learner.update(meta, state, toys.double(toys.draw_task("mixed", 4, 5).support))
    assert torch.equal(learner.embed(meta, reached), reached["context"])


def test_a_step_goes_down_the_gradient_by_the_context_alone() -> None:
    learner, meta = small(inner_steps=1, inner_rate=0.7, inner_clip=0.0)
    support = toys.double(toys.draw_task("mixed", 4, 5).support)
    context = torch.randn(4, 3, generator=Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    loss = support_nll(learner, meta, {"context": context}, support).sum()
    (gradient,) = torch.autograd.grad(loss, context)
    reached = learner.update(meta, {"context": context.detach()}, support)
    torch.testing.assert_close(reached["context"], context.detach() - 0.7 * gradient, rtol=1e-12, atol=1e-12)


def test_a_strong_prior_and_a_tight_clip_hold_a_character_back() -> None:
    support = toys.double(toys.draw_task("mixed", 4, 5).support)

    def distance(**changes: float) -> float:
        learner, meta = small(inner_steps=1, **changes)
        return float(learner.update(meta, learner.begin(meta, 4, torch.zeros(4, 0)), support)["context"].norm())

    free = distance(inner_clip=0.0)
    assert abs(distance(inner_clip=0.0, prior_examples=5.0) - free / 2) < 1e-9
    assert abs(distance(inner_clip=1e-3) - 2e-3 * CaviaSettings().inner_rate) < 1e-9  # the norm over four tasks
