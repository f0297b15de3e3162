"""Characters to adapt on a device: of the arena, and of recorded play."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator

from npcmeta.archetype import Archetype, save_archetype
from npcmeta.evaluate import take_examples
from npcmeta.recordings.recording import Recording, cut
from npcmeta.tasks.arena.family import ArenaFamily
from npcmeta.tasks.timelines import TimelineFamily, as_examples
from npcmeta.types import ActionSpec, BehaviorSpec, Examples, Normaliser, TaskFamily
from tests import toys
from tests.npcmeta.recordings.plays import play


class World(NamedTuple):
    """Characters to adapt to, and play of theirs to judge it on."""

    family: TaskFamily
    shown: list[Recording]  # of different lengths
    query: list[Examples]


@functools.cache
def arena() -> World:
    family = ArenaFamily("test", 2, 0, arenas=1, steps=150, query_arenas=1)
    task = family.sample(Generator().manual_seed(0), 2, shots=50, query_shots=50)
    clips = [as_recording(task.support, index, family.spec.action.branch_sizes) for index in range(2)]
    return World(
        family,
        [clips[0], cut(clips[1], 0, 17)],
        [take_examples(task.query, slice(index, index + 1)) for index in range(2)],
    )


@functools.cache
def recorded() -> World:
    plays = [play(120, seed=seed, continuous=1, episode=120) for seed in range(2)]
    spec = BehaviorSpec(4, ActionSpec(1, plays[0].branch_sizes), 10.0)
    family = TimelineFamily(spec, ["ann", "bob"], plays)
    return World(family, [cut(plays[0], 0, 60), cut(plays[1], 0, 9)], [as_examples(cut(p, 60, 120)) for p in plays])


def as_recording(examples: Examples, index: int, branches: tuple[int, ...]) -> Recording:
    steps = examples.weight.shape[1]
    return Recording(
        examples.observation[index].numpy(), examples.action.continuous[index].numpy(),
        examples.action.discrete[index].numpy(), examples.action_mask[index].numpy(), np.arange(steps) == 0,
        np.zeros(steps, np.float32), branches, 10.0,
    )  # fmt: skip


def trained(folder: Path, world: World, name: str) -> Archetype:
    """An archetype after a few meta-steps: enough for its characters to differ once they are adapted."""
    settings, spec = toys.small_settings(name), world.family.spec
    learner, generator = settings.build(spec), Generator().manual_seed(0)
    meta = {key: value.requires_grad_() for key, value in learner.init(generator).items()}
    optimizer = torch.optim.Adam(list(meta.values()), lr=1e-2)
    for _ in range(15):
        loss, _ = learner.meta_loss(meta, world.family.sample(generator, 2, shots=20, query_shots=20), generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ends = Normaliser((0.1,) * spec.observation_size, (1.5,) * spec.observation_size)
    meta = {key: value.detach() for key, value in meta.items()}
    draft = Archetype("guard", "arena", toys.VARIANTS.get(name, (name, {}))[0], settings, spec, ends, {}, {}, meta)
    return save_archetype(draft, folder / "guard.safetensors")
