"""PLATIPUS: the first update shifts and draws, and what comes later is gradient descent."""

import dataclasses

import torch
from torch import Generator

from npcmeta import inner_loop
from npcmeta.learners.platipus import PlatipusSettings
from npcmeta.types import Learner, Params
from tests import toys


def built(**changes: object) -> tuple[PlatipusSettings, Learner, Params]:
    settings = dataclasses.replace(toys.small_settings("platipus", activation="tanh"), **changes)  # type: ignore[type-var]
    learner = settings.build(toys.spec("mixed"))
    meta = learner.init(Generator().manual_seed(0))
    return settings, learner, toys.double_params(meta)  # type: ignore[return-value]


def begun(learner: Learner, meta: Params, num_tasks: int) -> Params:
    noise = torch.randn(num_tasks, learner.noise_size, generator=Generator().manual_seed(1), dtype=torch.float64)
    return learner.begin(meta, num_tasks, noise)


def test_what_comes_after_the_first_update_is_gradient_descent() -> None:
    settings, learner, meta = built()
    first, second = (toys.double(toys.draw_task("mixed", 3, 6, seed=seed).support) for seed in (1, 2))
    state = learner.update(meta, begun(learner, meta, 3), first)
    weights, share = {key: state[key] for key in learner.acting}, 6 / (6 + 6)  # of all examples that there were
    expected = inner_loop.last(
        inner_loop.sgd_steps(
            learner.head, weights, second, activation="tanh", rate=share * settings.inner_rate,
            steps=settings.inner_steps,
            clip=settings.inner_clip,
        )
    )  # fmt: skip
    found = learner.update(meta, state, second)
    toys.assert_close({key: found[key] for key in expected}, expected, 1e-12)


def test_the_first_update_also_shifts_along_the_directions() -> None:
    """With an inner rate of nothing only the shift is left: it lowers the loss, and it lies along the directions."""
    _, learner, meta = built(inner_rate=0.0)
    support = toys.double(toys.draw_task("mixed", 3, 6).support)
    start = learner.begin(meta, 3, torch.zeros(3, learner.noise_size, dtype=torch.float64))
    moved = learner.update(meta, start, support)
    change = torch.cat([(moved[key] - start[key]).flatten(1) for key in learner.acting], 1)
    directions = torch.cat([meta[f"directions.{key}"].flatten(1) for key in learner.acting], 1)
    left = change - torch.linalg.lstsq(directions.T, change.T).solution.T @ directions
    assert change.norm() > 1e-3
    assert left.norm() < 1e-9 * change.norm()
    before, after = (
        learner.head.nll(learner.predict(meta, state, support.observation), support.action, support.action_mask).mean()
        for state in (start, moved)
    )
    assert after < before
    toys.assert_close(learner.update(meta, moved, support), moved | {"count": moved["count"] + 6}, 0.0)


def test_a_second_task_may_begin_while_another_refines() -> None:
    _, learner, meta = built()
    support = toys.double(toys.draw_task("mixed", 2, 6).support)
    state = begun(learner, meta, 2)
    one = learner.update(meta, state, support._replace(weight=support.weight * torch.tensor([[1.0], [0.0]])))
    both = learner.update(meta, one, support)
    fresh = learner.update(meta, state, support)
    toys.assert_close({k: v[1] for k, v in both.items()}, {k: v[1] for k, v in fresh.items()}, 1e-12)
    assert any((both[key][0] - fresh[key][0]).abs().max() > 1e-6 for key in learner.acting)


def test_many_examples_leave_little_to_the_noise() -> None:
    _, learner, meta = built(inner_rate=0.0)
    meta = meta | {"rate.prior": torch.zeros_like(meta["rate.prior"])}
    moved = []
    for shots in (1, 100):
        support = toys.double(toys.draw_task("mixed", 1, shots).support)
        state = learner.update(meta, begun(learner, meta, 1), support)
        moved.append(sum(float((state[key] - meta[f"mean.{key}"]).square().sum()) for key in learner.acting))
    assert moved[1] < 0.2 * moved[0]
