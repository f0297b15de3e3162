"""`mlagents`: the contract of Unity ML-Agents 3.0, whose agents then run the file as if its trainer had written it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor

from npcmeta.types import ActionSpec, Params
from npcmeta_export import drawing, engine
from npcmeta_export.engine import NOISE, SCORES, Engine, Inputs, Policy

API_VERSION = 3


def example(policy: Policy, rows: int, generator: Generator) -> Inputs:
    """Observations, and masks as floats: 1 where a choice is allowed."""
    inputs = {"obs_0": engine.example_observation(policy, rows, generator)}
    if policy.action.branch_sizes:
        inputs["action_masks"] = engine.example_mask(policy, rows, generator).float()
    return inputs


def act(policy: Policy, params: Tensor, inputs: Inputs, state: Params) -> Inputs:
    """A drawn action and the most likely one; both are in [-1, 1] already, where ML-Agents' own files clamp and divide.

    Noise is drawn inside, unless a check gives it.
    """
    mask = inputs["action_masks"] > 0.5 if "action_masks" in inputs else torch.zeros(0, dtype=torch.bool)
    given = inputs.get(NOISE)
    if given is None:
        given = drawing.draw_noise(inputs["obs_0"], state, policy.action)
    drawn, scores = engine.sampled(policy, params, mask, given)
    likeliest, certain = engine.sampled(policy, params, mask, torch.zeros_like(given))
    return {
        "continuous_actions": drawn.continuous,
        "discrete_actions": drawn.discrete,
        "discrete_actions" + SCORES: scores,
        "deterministic_continuous_actions": likeliest.continuous,
        "deterministic_discrete_actions": likeliest.discrete,
        "deterministic_discrete_actions" + SCORES: certain,
        NOISE: given,
    }


def outputs(action: ActionSpec) -> list[str]:
    """Drawn and most likely actions of the kinds that there are."""
    continuous = ["continuous_actions", "deterministic_continuous_actions"] if action.continuous_size else []
    discrete = ["discrete_actions", "deterministic_discrete_actions"] if action.branch_sizes else []
    return [*continuous, *discrete]


def constants(action: ActionSpec) -> dict[str, np.ndarray]:
    """What the engine reads before it runs anything; all of it as floats."""
    facts = {"version_number": [API_VERSION], "memory_size": [0]}
    if action.continuous_size:
        facts["continuous_action_output_shape"] = [action.continuous_size]
    values = {name: np.array(value, np.float32) for name, value in facts.items()}
    if action.branch_sizes:
        values["discrete_action_output_shape"] = np.array([action.branch_sizes], np.float32)
    return values


def pack(state: Params) -> Inputs:
    """The acting state as a second observation: its keys in order of name, each flattened, [n, K]."""
    return {"obs_1": torch.cat([state[key].flatten(1) for key in sorted(state)], -1)}


def unpack(policy: Policy, inputs: Inputs) -> Params:
    """The acting state in `obs_1`."""
    shapes = state_shapes(policy)
    parts = inputs["obs_1"].split([shape.numel() for shape in shapes.values()], -1)
    return {key: part.reshape(-1, *shape) for (key, shape), part in zip(shapes.items(), parts, strict=True)}


def state_shapes(policy: Policy) -> dict[str, torch.Size]:
    """Shapes of one NPC's acting state, in order of name."""
    learner = policy.learner
    begun = learner.begin(policy.archetype.meta, 1, torch.zeros(1, learner.noise_size))
    return {key: begun[key].shape[1:] for key in sorted(learner.acting)}


MLAGENTS = Engine("mlagents", "obs_0", example, act, outputs, pack, unpack, constants, draws_inside=True)
