"""What the inner loop is measured on: networks, tasks and step sizes, for npcmeta and in torch's plain form."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional

from npcmeta import heads, networks
from npcmeta.types import Action, ActionSpec, Examples, Head, Params, Task

SEED = 1


class Work(NamedTuple):
    """An inner loop of plain SGD with relu, from random weights."""

    name: str
    hidden: tuple[int, ...]
    action: ActionSpec
    shots: int
    query_shots: int
    rate: float
    observation_size: int = 64
    steps: int = 5
    tasks: int = 64  # that are adapted and predict, first order
    meta_batch: int = 32  # tasks of a second-order outer step


class Problem(NamedTuple):
    """A work's weights and data. Contenders use `loss` and targets, or the head and the task: they are the same."""

    work: Work
    head: Head
    shared: Params  # [in, out] and [out]
    task: Task
    support_target: Tensor  # [T, S, C], or [T, S] without continuous actions
    query_target: Tensor
    loss: Callable[[Tensor, Tensor], Tensor]  # (outputs [N, P], targets [N, ...]) -> the mean over N


WORKS = (
    Work("few-shot regression", (256, 256), ActionSpec(16, ()), shots=10, query_shots=15, rate=0.01),
    Work("product", (128, 128), ActionSpec(0, (6,)), shots=100, query_shots=15, rate=0.1),
)
"""The first is what libraries for MAML are usually measured on, the second is an NPC adapted to 100 examples."""


def pose(work: Work, tasks: int) -> Problem:
    """Draws the weights and so many tasks of a work; the same every time."""
    generator = Generator().manual_seed(SEED)
    # With this spread, the NLL is the squared error but for a constant.
    head = heads.build_head(work.action, fixed_std=math.sqrt(0.5) if work.action.continuous_size else 0.0)
    sizes = layer_sizes(work)
    shared = networks.init_mlp(generator, sizes)
    support, query = (_draw(work, generator, tasks, count) for count in (work.shots, work.query_shots))
    loss = functional.cross_entropy if work.action.branch_sizes else _squared_error
    return Problem(work, head, shared, Task(support, query), _target(work, support), _target(work, query), loss)


def layer_sizes(work: Work) -> tuple[int, ...]:
    """Observation size, hidden sizes, and size of the output."""
    return work.observation_size, *work.hidden, work.action.continuous_size + work.action.mask_size


def floating_point_operations(work: Work) -> int:
    """What plain SGD and a prediction cost per task, counting the large products alone.

    An example of a step goes forward, back to the inputs of all layers but the first, and into each weight's gradient.
    """
    products = [2 * fan_in * fan_out for fan_in, fan_out in itertools.pairwise(layer_sizes(work))]
    step = 3 * sum(products) - products[0]
    return work.steps * work.shots * step + work.query_shots * sum(products)


def _draw(work: Work, generator: Generator, tasks: int, count: int) -> Examples:
    rows = (tasks, count)
    observation = torch.randn(*rows, work.observation_size, generator=generator)
    continuous = torch.randn(*rows, work.action.continuous_size, generator=generator)
    picks = [torch.randint(size, (*rows, 1), generator=generator) for size in work.action.branch_sizes]
    discrete = torch.cat([torch.zeros(*rows, 0, dtype=torch.int64), *picks], -1)
    mask = torch.ones(*rows, work.action.mask_size, dtype=torch.bool)
    return Examples(observation, Action(continuous, discrete), mask, torch.ones(rows))


def _target(work: Work, examples: Examples) -> Tensor:
    return examples.action.discrete[..., 0] if work.action.branch_sizes else examples.action.continuous


def _squared_error(output: Tensor, target: Tensor) -> Tensor:
    return functional.mse_loss(output, target) * output.shape[-1]
