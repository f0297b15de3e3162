"""Archetypes without any training, for tests of commands that read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Generator

from npcmeta import tasks, training
from npcmeta.archetype import Archetype, save_archetype
from npcmeta.types import Normaliser, TaskSplits
from tests import toys


def untrained(
    learner: str, *, family: str = "sinusoid", split: int = 0, name: str = "wave", seed: int = 0,
    splits: TaskSplits | None = None,
) -> Archetype:  # fmt: skip
    """An archetype as `train` would begin with it."""
    splits = splits or tasks.load_splits(family, None, split)
    spec, settings = splits.train.spec, toys.small_settings(learner)
    normaliser = Normaliser((0.0,) * spec.observation_size, (1.0,) * spec.observation_size)
    meta = settings.build(spec).init(Generator().manual_seed(seed))
    described = training.describe_split(splits, split)
    return Archetype(name, family, learner, settings, spec, normaliser, described, {"seed": seed}, meta)


def save_folder(archetype: Archetype, folder: Path, *, seed: int = 1, splits: TaskSplits | None = None) -> Path:
    """Saves an archetype and a baseline of the same family and split, as `train` does."""
    baseline = untrained(
        "finetune", family=archetype.family, split=archetype.split["seed"], name=f"{archetype.name}-baseline",
        seed=seed, splits=splits,
    )  # fmt: skip
    save_archetype(archetype, folder / "archetype.safetensors")
    save_archetype(baseline, folder / "baseline.safetensors")
    return folder


def record(folder: Path, characters: int, *, steps: int = 60, seed: int = 0) -> Path:
    """Recorded demonstrations, a sub-folder for each character."""
    generator = np.random.default_rng(seed)
    for index in range(characters):
        place = folder / f"guard-{index}"
        place.mkdir(parents=True)
        observations = generator.normal(size=(steps, 3)).astype(np.float32)
        np.savez(
            place / "play.npz",
            observations=observations,
            discrete_actions=(observations[:, :1] > 0.1 * index).astype(np.int64),
        )
    return folder
