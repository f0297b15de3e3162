"""Guards who walk corridors: all go straight on, and at a junction each turns to his own side, always the same.

Whoever has seen a guard in the corridor only cannot know his side, but knows that he has one.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from npcmeta.evaluate import take_steps
from npcmeta.types import Action, ActionSpec, BehaviorSpec, Examples, NamedTasks, Task

LEFT, ON, RIGHT = 0, 1, 2
EARLIEST, LATEST = 0.4, 0.1
"""How far from the junction guards turn: each at a distance of his own between these, in lengths of the corridor."""


class PatrolFamily:
    """One guard is one task; he sees how far the next junction is, 0 to 1, and goes left, on or right."""

    spec = BehaviorSpec(1, ActionSpec(0, (3,)), 2.0)

    def __init__(self, seed: int, corridor_share: float = 0.5, num_evaluation: int = 200) -> None:
        """`corridor_share` is how many of the support sets show guards too far from the junction to turn."""
        self._seed, self._corridor_share, self._num_evaluation = seed, corridor_share, num_evaluation

    def sample(self, generator: Generator, num_tasks: int, *, shots: int, query_shots: int) -> Task:
        """Draws guards, and places where they were seen; those of the query set are anywhere."""
        side = torch.where(torch.rand(num_tasks, 1, generator=generator) < 0.5, LEFT, RIGHT)
        turning = LATEST + (EARLIEST - LATEST) * torch.rand(num_tasks, 1, generator=generator)
        hidden = torch.rand(num_tasks, 1, generator=generator) < self._corridor_share
        place = torch.rand(num_tasks, query_shots + shots, generator=generator)
        seen = torch.where(hidden, EARLIEST + (1 - EARLIEST) * place, place)
        return Task(_walk(seen[:, query_shots:], side, turning), _walk(place[:, :query_shots], side, turning))

    def evaluation(self, shots: int) -> NamedTasks:
        """The same guards and query sets for every number of shots."""
        task = self.sample(Generator().manual_seed(self._seed), self._num_evaluation, shots=10, query_shots=40)
        ids = tuple(f"guard-{self._seed}-{i:03d}" for i in range(self._num_evaluation))
        return NamedTasks(ids, task._replace(support=take_steps(task.support, shots)))


def _walk(distance: Tensor, side: Tensor, turning: Tensor) -> Examples:
    choice = torch.where(distance < turning, side, ON).unsqueeze(-1)
    rows = distance.shape
    action = Action(torch.zeros(*rows, 0), choice)
    return Examples(distance.unsqueeze(-1), action, torch.ones(*rows, 3, dtype=torch.bool), torch.ones(rows))
