"""Archetypes and NPCs to export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Generator

from npcmeta.archetype import Archetype, Npc, begin_npc, save_archetype
from npcmeta.types import ActionSpec, BehaviorSpec, Normaliser
from npcmeta_export import engine
from npcmeta_export.ort import ORT
from tests import toys

ACTIONS = {
    "continuous": ActionSpec(3, ()),
    "discrete": ActionSpec(0, (3, 4)),
    "mixed": ActionSpec(2, (5,)),
}


def make_archetype(folder: Path, learner: str, action: ActionSpec) -> Archetype:
    name, settings = toys.VARIANTS.get(learner, (learner, {}))[0], toys.small_settings(learner)
    spec = BehaviorSpec(7, action, 10.0)
    meta = settings.build(spec).init(Generator().manual_seed(3))
    normaliser = Normaliser(tuple(0.1 * i for i in range(7)), tuple(1.0 + 0.2 * i for i in range(7)))
    draft = Archetype("guard", "arena", name, settings, spec, normaliser, {}, {}, meta)
    return save_archetype(draft, folder / "guard.safetensors")


def changed_npc(archetype: Archetype) -> Npc:
    npc = begin_npc(archetype, "bob")
    shaken = {key: value + 0.3 * torch.randn(value.shape, generator=Generator()) for key, value in npc.state.items()}
    return npc._replace(state=shaken)


def feeds(archetype: Archetype, rows: int) -> dict[str, np.ndarray]:
    inputs = ORT.example(engine.policy_of(archetype), rows, Generator().manual_seed(5))
    return {name: value.numpy() for name, value in inputs.items()}
