"""Observations as learners want them: standardised by what was measured while training."""

from __future__ import annotations

import torch
from torch import Tensor

from npcmeta.types import Examples, Learner, Normaliser, Task


def normalised(learner: Learner, normaliser: Normaliser) -> Learner:
    """The same learner on raw observations, which are standardised before it sees them."""

    def seen(examples: Examples) -> Examples:
        return examples._replace(observation=standardise(examples.observation, normaliser))

    return learner._replace(
        steps=lambda meta, state, examples: learner.steps(meta, state, seen(examples)),
        update=lambda meta, state, examples: learner.update(meta, state, seen(examples)),
        predict=lambda meta, state, observation: learner.predict(meta, state, standardise(observation, normaliser)),
        meta_loss=lambda meta, task, generator: learner.meta_loss(
            meta, Task(seen(task.support), seen(task.query)), generator
        ),
    )


def standardise(observation: Tensor, normaliser: Normaliser) -> Tensor:
    """Observations [.., O] less their mean, divided by their standard deviation, and clipped to +-10."""
    mean = torch.tensor(normaliser.mean, dtype=observation.dtype)
    std = torch.tensor(normaliser.std, dtype=observation.dtype)
    return ((observation - mean) / std).clamp(-10.0, 10.0)
