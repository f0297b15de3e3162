"""`godot`: what the Godot RL Agents plugin runs: `obs` and `state_ins` in, `output` and `state_outs` out, all float.

How the plugin reads `output` [n, K], as its source says (`sync.gd`, `ONNX_wrapper.gd`):

- If every action is continuous and K is their number, the values are the actions. Otherwise each continuous action
  space of size C takes 2 C columns, of which the second half is skipped.
- A discrete action is the largest of its columns, **found by comparing with 0 first**: if none is above 0, the first
  one is taken. So scores are written as what they are above the least of their branch.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from npcmeta.types import ActionSpec, Params
from npcmeta_export import drawing, engine
from npcmeta_export.engine import NOISE, Engine, Inputs, Policy


def example(policy: Policy, rows: int, generator: Generator) -> Inputs:
    """Observations, and `state_ins`: 1 in the plugin, 0 in some of its trainers' checks."""
    return {
        "obs": engine.example_observation(policy, rows, generator),
        "state_ins": torch.randint(2, (rows,), generator=generator).float(),
    }


def act(policy: Policy, params: Tensor, inputs: Inputs, state: Params) -> Inputs:
    """The drawn action, with noise `state_ins` times as large: 1 draws, 0 takes the most likely action."""
    given = inputs.get(NOISE)
    if given is None:
        given = drawing.draw_noise(inputs["obs"], state, policy.action)
    noise = given * inputs["state_ins"].unsqueeze(-1)
    everything = torch.ones(1, policy.action.mask_size, dtype=torch.bool)
    drawn, scores = engine.sampled(policy, params, everything, noise)
    moves = drawn.continuous
    mixed = policy.action.continuous_size and policy.action.branch_sizes
    skipped = [torch.zeros_like(moves)] if mixed else []
    branches = scores.split(policy.action.branch_sizes, -1) if policy.action.branch_sizes else ()
    raised = [branch - branch.amin(-1, keepdim=True) for branch in branches]
    return {
        "output": torch.cat([moves, *skipped, *raised], -1),
        "state_outs": inputs["state_ins"] + 0.0,
        NOISE: given,
    }


def outputs(action: ActionSpec) -> list[str]:
    """Always the same two."""
    return ["output", "state_outs"]


GODOT = Engine("godot", "obs", example, act, outputs, engine.by_name, engine.from_names, draws_inside=True)
