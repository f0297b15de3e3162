"""Sinusoid regression, the textbook check (Finn et al. 2017, section 5.1): one wave is one character."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from npcmeta.evaluate import first_shots
from npcmeta.types import Action, ActionSpec, BehaviorSpec, Examples, NamedTasks, Task, TaskSplits

SCALE = 5.0
"""Targets are divided by this, so that they are actions in [-1, 1]; it is the `unit` of this family in `FAMILIES`."""
MAX_SHOTS = 100


class SinusoidFamily:
    """y = amplitude * sin(x - phase) / scale, amplitude in [0.1, 5], phase in [0, pi], x in [-5, 5]."""

    spec = BehaviorSpec(1, ActionSpec(1, ()), 1.0)

    def __init__(self, seed: int, num_evaluation: int = 600, scale: float = SCALE) -> None:
        """`seed` fixes the waves of `evaluation`; with a `scale` of 1 targets are the papers', and no actions."""
        self._seed, self._num_evaluation, self._scale = seed, num_evaluation, scale

    def sample(self, generator: Generator, num_tasks: int, *, shots: int, query_shots: int) -> Task:
        """Draws waves, and points on each of them."""
        amplitude = 0.1 + 4.9 * torch.rand(num_tasks, 1, 1, generator=generator)
        phase = math.pi * torch.rand(num_tasks, 1, 1, generator=generator)
        x = 10 * torch.rand(num_tasks, query_shots + shots, 1, generator=generator) - 5
        y = amplitude * torch.sin(x - phase) / self._scale
        return Task(_points(x[:, query_shots:], y[:, query_shots:]), _points(x[:, :query_shots], y[:, :query_shots]))

    def evaluation(self, shots: int) -> NamedTasks:
        """The same waves and query points for every number of shots; beyond `MAX_SHOTS` no wave is left."""
        tasks = self._num_evaluation
        drawn = self.sample(Generator().manual_seed(self._seed), tasks, shots=MAX_SHOTS, query_shots=100)
        ids = tuple(f"wave-{self._seed}-{i:04d}" for i in range(tasks))
        return first_shots(NamedTasks(ids, drawn), shots)


def splits(split: int) -> TaskSplits:
    """Waves are drawn afresh for training; validation and test are fixed ones of their own seeds."""
    summary = {"split": split, "test": "600 waves of their own seed"}
    parts = [SinusoidFamily(1000 * split + offset) for offset in (1, 2, 3)]
    return TaskSplits(parts[0], parts[1], parts[2], summary)


def _points(x: Tensor, y: Tensor) -> Examples:
    rows = x.shape[:2]
    action = Action(y, torch.zeros(*rows, 0, dtype=torch.int64))
    return Examples(x, action, torch.zeros(*rows, 0, dtype=torch.bool), torch.ones(rows))
