"""The arena as a task family: a task is one character, an example one decision of its expert.

A demonstration (clip) is 50 consecutive steps, five seconds. Each character is recorded in several arenas once, on
first use; meta-batches are slices of that pool.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from npcmeta.tasks.arena import simulate
from npcmeta.tasks.arena.geometry import Floats
from npcmeta.tasks.arena.observe import OBSERVATION_SIZE
from npcmeta.tasks.arena.personality import HELD_OUT, TRAITS, Part, personalities
from npcmeta.tasks.arena.state import ACTION, TICK_RATE_HZ
from npcmeta.types import Action, BehaviorSpec, Examples, NamedTasks, Task, TaskSplits

CLIP_STEPS = 50
SPEC = BehaviorSpec(OBSERVATION_SIZE, ACTION, TICK_RATE_HZ)


class ArenaFamily:
    """A set of characters and their recorded play; recorded on first use, or by `prepare`."""

    spec = SPEC

    def __init__(
        self,
        part: Part,
        num_characters: int,
        seed: int = 0,
        *,
        arenas: int = 4,
        steps: int = 250,
        query_arenas: int = 2,
    ):
        """Names the characters; nothing is simulated yet.

        Args:
            part: `train`, `validation` or `test`: which draws of `personalities`.
            num_characters: How many.
            seed: The split.
            arenas: Timelines of each character for `sample` and for the support sets of `evaluation`.
            steps: Length of each timeline.
            query_arenas: More timelines, for the query sets of `evaluation` alone.
        """
        if steps < 2 * CLIP_STEPS or arenas < 1:
            raise ValueError(
                f"{arenas} timelines of {steps} steps; expected at least one of at least {2 * CLIP_STEPS} steps"
            )
        self.part, self.seed = part, seed
        self.personalities: Floats = personalities(part, num_characters, seed)
        self.ids = tuple(f"arena-{part}-{seed}-{index:04d}" for index in range(num_characters))
        self._arenas, self._steps, self._query_arenas = arenas, steps, query_arenas
        self._pool: Examples | None = None
        self._query: Examples | None = None

    def prepare(self, progress: simulate.Progress | None = None) -> None:
        """Records the characters' play, if that has not been done."""
        if self._pool is None:
            self._pool = self._record(self._arenas, 0, progress)

    def sample(self, generator: Generator, num_tasks: int, *, shots: int, query_shots: int) -> Task:
        """Draws characters (none twice if there are enough) and disjoint clips of each for support and query.

        Raises:
            ValueError: If a character's pool holds too few clips for so many shots.
        """
        pool = self._ready()
        clips = self._clips(shots) + self._clips(query_shots)
        per_arena = self._steps // CLIP_STEPS - 1
        if clips > per_arena * self._arenas:
            raise ValueError(
                f"{shots} shots and {query_shots} query shots need {clips} clips of {CLIP_STEPS} steps; "
                f"a character of this pool has {per_arena * self._arenas}: make it with more arenas or steps"
            )
        characters = self._draw_characters(generator, num_tasks)
        # Clips lie on a grid that is shifted at random for each task, so that every start occurs.
        shift = torch.randint(CLIP_STEPS + self._steps % CLIP_STEPS, (num_tasks, 1), generator=generator)
        slots = torch.rand(num_tasks, per_arena * self._arenas, generator=generator).argsort(1)[:, :clips]
        starts = slots // per_arena * self._steps + slots % per_arena * CLIP_STEPS + shift
        steps = (starts.unsqueeze(-1) + torch.arange(CLIP_STEPS)).flatten(1)
        first_query = self._clips(shots) * CLIP_STEPS
        take = partial(_take, pool, characters)
        return Task(take(steps[:, :shots]), take(steps[:, first_query : first_query + query_shots]))

    def evaluation(self, shots: int) -> NamedTasks:
        """Every character, with the first `shots` examples of a fixed order of clips, and always the same query set.

        With more `shots` than were recorded (`arenas` x `steps`, in whole clips) no task is left.
        """
        pool = self._ready()
        if self._query is None:
            self._query = self._record(self._query_arenas, 1, None)
        characters = torch.arange(len(self.ids))
        steps = self._support_order()
        if shots > steps.shape[1]:
            characters, steps = characters[:0], steps[:0]
        support = _take(pool, characters, steps[:, :shots])
        query = _map(lambda values: values[characters], self._query)
        return NamedTasks(self.ids[: len(characters)], Task(support, query))

    def _support_order(self) -> Tensor:
        """Steps of each character's timelines in the order in which it demonstrates them, [T, clips * 50]."""
        per_arena = self._steps // CLIP_STEPS
        rng = np.random.default_rng([22, self.seed])
        slots = torch.from_numpy(np.stack([rng.permutation(per_arena * self._arenas) for _ in self.ids]))
        starts = slots // per_arena * self._steps + slots % per_arena * CLIP_STEPS
        return (starts.unsqueeze(-1) + torch.arange(CLIP_STEPS)).flatten(1)

    def _draw_characters(self, generator: Generator, num_tasks: int) -> Tensor:
        rounds = -(-num_tasks // len(self.ids))
        drawn = [torch.randperm(len(self.ids), generator=generator) for _ in range(rounds)]
        return torch.cat(drawn)[:num_tasks]

    def _ready(self) -> Examples:
        self.prepare()
        assert self._pool is not None
        return self._pool

    def _record(self, arenas: int, purpose: int, progress: simulate.Progress | None) -> Examples:
        """Timelines of every character, end to end: [characters, arenas * steps, ...]."""
        offset = {"train": 0, "validation": 1, "test": 2}[self.part]
        seed = (self.seed * 3 + offset) * 2 + purpose
        play = simulate.record(np.repeat(self.personalities, arenas, 0), self._steps, seed, progress)
        observation, move, choice, mask = (
            torch.from_numpy(array).reshape(len(self.ids), arenas * self._steps, *array.shape[2:]) for array in play
        )
        weight = torch.ones(observation.shape[:2])
        return Examples(observation, Action(move, choice.unsqueeze(-1)), mask, weight)

    @staticmethod
    def _clips(shots: int) -> int:
        return -(-shots // CLIP_STEPS)


def splits(
    split: int = 0, *, train_characters: int = 2000, validation_characters: int = 32, test_characters: int = 32
) -> TaskSplits:
    """The arena's characters for one split seed; each part is simulated when it is first used."""
    parts: dict[str, Any] = {"train": train_characters, "validation": validation_characters, "test": test_characters}
    families = {part: ArenaFamily(part, count, split) for part, count in parts.items()}  # type: ignore[arg-type]
    summary = {
        "family": "arena",
        "split": split,
        "characters": parts,
        "traits": list(TRAITS),
        "held_out": f"{HELD_OUT}: no training or validation character; every test character with an even number",
        "test": list(families["test"].ids),
    }
    return TaskSplits(families["train"], families["validation"], families["test"], summary)


def _take(pool: Examples, characters: Tensor, steps: Tensor) -> Examples:
    """Examples of characters [T] at the steps [T, S] of their timelines."""
    length = pool.weight.shape[1]
    index = (characters.unsqueeze(1) * length + steps).flatten()

    def gather(values: Tensor) -> Tensor:
        return values.flatten(0, 1).index_select(0, index).reshape(*steps.shape, *values.shape[2:])

    return _map(gather, pool)


def _map(function: Callable[[Tensor], Tensor], examples: Examples) -> Examples:
    action = Action(function(examples.action.continuous), function(examples.action.discrete))
    return Examples(function(examples.observation), action, function(examples.action_mask), function(examples.weight))
