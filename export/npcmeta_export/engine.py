"""What one engine's file looks like: names, types and layout around the policy, which is the same for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from npcmeta.archetype import Archetype, build_learner, draw_state_noise
from npcmeta.types import Action, ActionSpec, Learner, Params

HEAD_PARAMS, NOISE = "head_params", "noise"
SCORES = ".scores"
"""`<output>.scores` are the numbers [n, W] of which a choice takes the largest; only checks read them."""

Inputs = dict[str, Tensor]


class Policy(NamedTuple):
    """An archetype, and its learner, which takes a while to build."""

    archetype: Archetype
    learner: Learner

    @property
    def action(self) -> ActionSpec:
        """What its characters decide."""
        return self.archetype.spec.action


def policy_of(archetype: Archetype) -> Policy:
    """The archetype with its learner."""
    return Policy(archetype, build_learner(archetype))


class Engine(NamedTuple):
    """The contract of one engine. Functions are traced, so they are made of operators that engines have."""

    name: str
    observation: str  # name of the input that is seen, [n, O]
    example: Callable[[Policy, int, Generator], Inputs]  # all inputs but the state, for so many rows
    act: Callable[[Policy, Tensor, Inputs, Params], Inputs]  # (policy, head params [n, P], inputs, state) -> outputs
    outputs: Callable[[ActionSpec], list[str]]  # those of the file that depend on its inputs
    pack: Callable[[Params], Inputs]  # from states [n, ...] of different NPCs to inputs of the file for all of them
    unpack: Callable[[Policy, Inputs], Params]  # and back
    constants: Callable[[ActionSpec], dict[str, np.ndarray]] = lambda action: {}  # outputs that never change
    draws_inside: bool = False  # whether the graph draws its own noise, instead of taking it as an input


def decide(policy: Policy, engine: Engine, state: Params, inputs: Inputs) -> Inputs:
    """Outputs and head parameters of each row from its state and observation; every row is a task of its own."""
    observation = inputs[engine.observation].unsqueeze(1)
    params = policy.learner.predict(policy.archetype.meta, state, observation)[:, 0]
    return engine.act(policy, params, inputs, state) | {HEAD_PARAMS: params}


def decide_together(policy: Policy, engine: Engine, state: Params, inputs: Inputs) -> Inputs:
    """The same for one character: all rows are observations of the single task in `state`."""
    observation = inputs[engine.observation].unsqueeze(0)
    params = policy.learner.predict(policy.archetype.meta, state, observation)[0]
    return engine.act(policy, params, inputs, state) | {HEAD_PARAMS: params}


def by_name(state: Params) -> Inputs:
    """States as inputs `state.<key>`, each [n, ...]."""
    return {f"state.{key}": value for key, value in state.items()}


def from_names(policy: Policy, inputs: Inputs) -> Params:
    """The acting state in inputs `state.<key>`."""
    return {key: inputs[f"state.{key}"] for key in policy.learner.acting}


def sampled(policy: Policy, params: Tensor, mask: Tensor, noise: Tensor) -> tuple[Action, Tensor]:
    """The action that the noise [n, C + W] stands for, and the scores [n, W] that its choices are the largest of."""
    action = policy.learner.head.sample(params, mask, noise)
    logits = params[..., params.shape[-1] - mask.shape[-1] :]
    shaken = logits + noise[..., noise.shape[-1] - mask.shape[-1] :]
    return action, torch.where(mask, shaken, -torch.inf)


def example_observation(policy: Policy, rows: int, generator: Generator) -> Tensor:
    """Observations [n, O] as the archetype saw them while training."""
    normaliser = policy.archetype.normaliser
    mean, std = torch.tensor(normaliser.mean), torch.tensor(normaliser.std)
    return mean + std * torch.randn(rows, len(mean), generator=generator)


def example_mask(policy: Policy, rows: int, generator: Generator) -> Tensor:
    """Masks [n, W] that forbid some choices; the first of every branch stays allowed, so that there is always one."""
    masks = [torch.rand(rows, size, generator=generator) < 0.7 for size in policy.action.branch_sizes]
    for mask in masks:
        mask[:, 0] = True
    return torch.cat(masks, -1) if masks else torch.zeros(rows, 0, dtype=torch.bool)


def example_state(policy: Policy, rows: int, generator: Generator) -> Params:
    """Acting states of different characters: those of unadapted NPCs, each value shaken."""
    learner = policy.learner
    begun = learner.begin(policy.archetype.meta, rows, draw_state_noise(learner, range(rows)))
    return {
        key: value + 0.05 * value.abs().mean().clamp_min(0.1) * torch.randn(value.shape, generator=generator)
        for key, value in begun.items()
        if key in learner.acting
    }
