"""`sentis`: Unity's Sentis (Inference Engine), which knows numbers of two types: float32 and int32."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from npcmeta.types import Params
from npcmeta_export import engine, ort
from npcmeta_export.engine import Engine, Inputs, Policy


def example(policy: Policy, rows: int, generator: Generator) -> Inputs:
    """As for onnxruntime, but the mask is a float: 1 where a choice is allowed."""
    return {key: value.float() for key, value in ort.example(policy, rows, generator).items()}


def act(policy: Policy, params: Tensor, inputs: Inputs, state: Params) -> Inputs:
    """As for onnxruntime, but choices are int32."""
    if "action_mask" in inputs:
        inputs = inputs | {"action_mask": inputs["action_mask"] > 0.5}
    decided = ort.act(policy, params, inputs, state)
    return decided | {"discrete_actions": decided["discrete_actions"].to(torch.int32)}


SENTIS = Engine("sentis", "observation", example, act, ort.outputs, engine.by_name, engine.from_names)
