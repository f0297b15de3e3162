"""`policy` and `ort`: plain ONNX for onnxruntime and whatever else loads files at run time. Noise is an input."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from npcmeta.types import ActionSpec, Params
from npcmeta_export import engine
from npcmeta_export.engine import HEAD_PARAMS, NOISE, SCORES, Engine, Inputs, Policy


def example(policy: Policy, rows: int, generator: Generator) -> Inputs:
    """Observations, masks and noise for so many rows."""
    inputs = {"observation": engine.example_observation(policy, rows, generator)}
    if policy.action.branch_sizes:
        inputs["action_mask"] = engine.example_mask(policy, rows, generator)
    return inputs | {NOISE: policy.learner.head.draw_noise(generator, (rows,))}


def act(policy: Policy, params: Tensor, inputs: Inputs, state: Params) -> Inputs:
    """The drawn action; noise of zeros gives the most likely one."""
    mask = inputs.get("action_mask", torch.zeros(0, dtype=torch.bool))
    action, scores = engine.sampled(policy, params, mask, inputs[NOISE])
    return {
        "continuous_actions": action.continuous,
        "discrete_actions": action.discrete,
        "discrete_actions" + SCORES: scores,
    }


def outputs(action: ActionSpec) -> list[str]:
    """The kinds of actions that there are, and the head parameters."""
    continuous = ["continuous_actions"] if action.continuous_size else []
    discrete = ["discrete_actions"] if action.branch_sizes else []
    return [*continuous, *discrete, HEAD_PARAMS]


ORT = Engine("ort", "observation", example, act, outputs, engine.by_name, engine.from_names)
