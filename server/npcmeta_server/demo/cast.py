"""Who is in the demo: held-out characters, their demonstrations, and the NPCs that will imitate them."""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

import torch

from npcmeta import evaluate, tasks
from npcmeta.types import NamedTasks, Task, TaskFamily
from npcmeta_server.demo.game import clip
from npcmeta_server.gen.npcmeta.v1 import tensor_pb2

CHARACTERS = 24
DEMONSTRATIONS = (0, 1, 3, 10)


class Cast(NamedTuple):
    """The characters and what is shown of each of them."""

    names: tuple[str, ...]
    family: TaskFamily
    examples: int  # of one demonstration
    task: Task  # support: all ten demonstrations; query: what is judged on

    def npc(self, character: int, demonstrations: int) -> str:
        """Name of the NPC that imitates a character from so many demonstrations."""
        return f"{self.names[character]}-d{demonstrations}"

    def clips(self, character: int, demonstrations: int) -> list[tensor_pb2.Examples]:
        """A character's first demonstrations, as they go over the wire."""
        edges = [number * self.examples for number in range(demonstrations + 1)]
        return [clip(self.task.support, character, first, last) for first, last in itertools.pairwise(edges)]


def gather(family_name: str, split: int) -> Cast:
    """Takes the first held-out characters of a family."""
    family = tasks.load_splits(family_name, None, split).test
    examples = tasks.find(family_name).demonstration
    named: NamedTasks = family.evaluation(max(DEMONSTRATIONS) * examples)
    rows = torch.arange(min(CHARACTERS, len(named.ids)))
    names = tuple(_npc_name(name) for name in named.ids[: len(rows)])
    return Cast(names, family, examples, evaluate.take_tasks(named.task, rows))


def _npc_name(task_id: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "-", task_id.lower())[:48]
