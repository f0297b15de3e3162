"""Learners in the closed loop: adapted characters as arena policies, and the ceiling that imitation can reach."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Generator, Tensor

from npcmeta import inner_loop
from npcmeta.archetype import Archetype, build_learner, draw_state_noise
from npcmeta.learners.finetune import FinetuneSettings
from npcmeta.normalising import standardise
from npcmeta.tasks.arena import simulate
from npcmeta.tasks.arena.family import SPEC
from npcmeta.tasks.arena.geometry import Bools, Floats
from npcmeta.tasks.arena.play import Policy
from npcmeta.types import Action, Examples, Learner, Normaliser, Params

CEILING_STEPS = 50_000
"""Expert steps of one character that its imitation ceiling is trained on."""


def as_policy(learner: Learner, meta: Params, state: Params, *, seed: int = 0) -> Policy:
    """Characters (one for each row of `state`) as a policy; their actions are drawn, as the experts' are.

    The policy's rows are character-major, with as many arenas for each character as fit.
    """
    generator = Generator().manual_seed(seed)
    count = next(iter(state.values())).shape[0]

    def policy(observation: Floats, mask: Bools, tick: int) -> tuple[Floats, np.ndarray]:
        seen = torch.from_numpy(observation).reshape(count, -1, SPEC.observation_size)
        allowed = torch.from_numpy(mask).reshape(count, -1, SPEC.action.mask_size)
        with torch.no_grad():
            params = learner.predict(meta, state, seen)
            noise = learner.head.draw_noise(generator, tuple(params.shape[:-1]))
            action = learner.head.sample(params, allowed, noise)
        return action.continuous.flatten(0, 1).numpy(), action.discrete.flatten().numpy()

    return policy


def ceiling_state(
    baseline: Archetype,
    personality: Floats,
    *,
    steps: int = 1500,
    batch: int = 256,
    seed: int = 0,
    watch: Callable[[float], None] = lambda fraction: None,
) -> Params:
    """Trains a copy of the average policy for each character on 50,000 of its steps: what imitation can reach.

    Args:
        baseline: The average policy, an archetype of the learner `finetune`.
        personality: The characters, [T, 12].
        steps: Steps of Adam, with a step size that falls linearly from 1e-3 to zero.
        batch: Examples of each character in one step.
        seed: Of the arenas recorded and of the order of examples.
        watch: Told how much is done, 0 to 1.

    Returns:
        A state of the baseline for every character, to be played with `as_policy`.
    """
    learner, pool = build_learner(baseline), _record(personality, baseline.normaliser, seed)
    assert isinstance(baseline.settings, FinetuneSettings)
    generator = Generator().manual_seed(seed)
    begun = learner.begin(baseline.meta, len(personality), draw_state_noise(learner, range(len(personality))))
    state = {key: value.clone() for key, value in begun.items()}
    optimizer = torch.optim.Adam(list(state.values()), lr=1e-3)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 - step / steps)
        rows = torch.randint(CEILING_STEPS, (batch,), generator=generator)
        gradients = inner_loop.support_gradient(learner.head, state, _at(pool, rows), baseline.settings.activation)
        for key, value in state.items():
            value.grad = gradients[key]
        optimizer.step()
        watch((step + 1) / steps)
    return state


def _record(personality: Floats, normaliser: Normaliser, seed: int, arenas: int = 50) -> Examples:
    """Expert play of every character with standardised observations, [T, 50_000, ...]."""
    play = simulate.record(np.repeat(personality, arenas, 0), CEILING_STEPS // arenas, 7_000 + seed)
    observation, move, choice, mask = (
        torch.from_numpy(array).reshape(len(personality), CEILING_STEPS, *array.shape[2:]) for array in play
    )
    weight = torch.ones(observation.shape[:2])
    return Examples(standardise(observation, normaliser), Action(move, choice.unsqueeze(-1)), mask, weight)


def _at(pool: Examples, rows: Tensor) -> Examples:
    return pool.map(lambda part: part[:, rows])
