"""A task family over recorded timelines: who plays is the task, and time runs from the support set to the query set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from npcmeta.recordings.recording import Recording
from npcmeta.types import Action, BehaviorSpec, Examples, NamedTasks, Task


class Steps(NamedTuple):
    """Which steps of one timeline each row of a batch takes: [T, n], and whether there was such a step."""

    step: Tensor
    exists: Tensor


class TimelineFamily:
    """Characters with one timeline each, of any length, stored end to end."""

    def __init__(self, spec: BehaviorSpec, ids: Sequence[str], recordings: Sequence[Recording]) -> None:
        """The recordings have to fit the spec, and be at least two steps long."""
        self.spec, self.ids = spec, tuple(ids)
        self.lengths = torch.tensor([recording.steps for recording in recordings])
        self._starts = self.lengths.cumsum(0) - self.lengths
        self._rows = Examples(
            _joined([r.observations for r in recordings]),
            Action(
                _joined([r.continuous_actions for r in recordings]), _joined([r.discrete_actions for r in recordings])
            ),
            _joined([r.action_masks for r in recordings]),
            torch.ones(int(self.lengths.sum()), dtype=torch.float32),
        )

    def sample(self, generator: Generator, num_tasks: int, *, shots: int, query_shots: int) -> Task:
        """Draws characters; half of the time as in `evaluation`, otherwise two random windows that do not overlap.

        In the first kind the support set is the first `shots` steps and the query set is spread over the second half.
        """
        who = torch.randint(len(self.ids), (num_tasks,), generator=generator)
        length = self.lengths[who].unsqueeze(-1)
        ahead = _ahead(length, shots, query_shots, generator)
        anywhere = _anywhere(length, shots, query_shots, generator)
        choice = torch.rand(num_tasks, 1, generator=generator) < 0.5
        support, query = (
            Steps(*(torch.where(choice, a, b) for a, b in zip(one, other, strict=True)))
            for one, other in zip(ahead, anywhere, strict=True)
        )
        return Task(self._take(who, support), self._take(who, query))

    def evaluation(self, shots: int) -> NamedTasks:
        """Support = the first `shots` steps, query = the second half; leaves out who has fewer than 2 `shots` steps."""
        who = (self.lengths >= max(2, 2 * shots)).nonzero().squeeze(-1)
        length = self.lengths[who].unsqueeze(-1)
        middle = length // 2
        longest = int((length - middle).max()) if len(who) else 0
        support = torch.arange(shots).expand(len(who), shots)
        query = middle + torch.arange(longest)
        task = Task(
            self._take(who, Steps(support, torch.ones_like(support, dtype=torch.bool))),
            self._take(who, Steps(query, query < length)),
        )
        return NamedTasks(tuple(self.ids[index] for index in who.tolist()), task)

    def _take(self, who: Tensor, steps: Steps) -> Examples:
        """The chosen steps; where there is none, the timeline's first with weight 0."""
        row = self._starts[who].unsqueeze(-1) + steps.step.where(steps.exists, 0)
        rows = self._rows
        action = Action(rows.action.continuous[row], rows.action.discrete[row])
        return Examples(rows.observation[row], action, rows.action_mask[row], steps.exists.float())


def as_examples(recording: Recording) -> Examples:
    """A whole recording as the examples of one character [1, T, ...], each of weight 1."""
    columns = [_joined([values]).unsqueeze(0) for values in recording[:4]]
    observation, continuous, discrete, mask = columns
    return Examples(
        observation, Action(continuous, discrete), mask, torch.ones(1, recording.steps, dtype=torch.float32)
    )


def _ahead(length: Tensor, shots: int, query_shots: int, generator: Generator) -> tuple[Steps, Steps]:
    """The first `shots` steps, and steps drawn one from each of `query_shots` equal parts of the second half."""
    middle = length // 2
    step = torch.arange(shots).expand(len(length), shots)
    rest = length - middle
    drawn = torch.rand(len(length), query_shots, generator=generator)
    part = torch.arange(query_shots)
    spread = ((part + drawn) * rest / query_shots).long()
    query = torch.where(rest >= query_shots, spread, part.expand_as(spread))
    return Steps(step, step < middle), Steps(middle + query.clamp(max=rest), query < rest)


def _anywhere(length: Tensor, shots: int, query_shots: int, generator: Generator) -> tuple[Steps, Steps]:
    """Two windows in either order, with the steps that neither takes spread at random around them."""
    num_support = length.div(2, rounding_mode="floor").clamp(max=shots)
    num_query = (length - num_support).clamp(max=query_shots)
    free = length - num_support - num_query
    draws = torch.rand(len(length), 2, generator=generator).sort(-1).values
    before, between = ((free + 1) * draws).long().clamp(max=free).split(1, -1)
    query_first = torch.rand(len(length), 1, generator=generator) < 0.5
    support = torch.where(query_first, between + num_query, before)
    query = torch.where(query_first, before, between + num_support)
    first, second = torch.arange(shots), torch.arange(query_shots)
    return Steps(support + first, first < num_support), Steps(query + second, second < num_query)


def _joined(parts: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))
