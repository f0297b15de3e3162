"""The policy graph: one file for every NPC of an archetype, the acting state as inputs."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import Generator, Tensor

from npcmeta.archetype import Archetype, build_learner, draw_state_noise
from npcmeta.types import Learner, Params
from npcmeta_export import graph, parity

TRACED_ROWS = 3


def export_policy(archetype: Archetype, path: Path) -> Path:
    """Writes the policy graph of an archetype.

    Inputs: `observation` [n, O] float32, `state.<key>` [n, ...] for every acting key of the learner's state,
    `action_mask` [n, W] bool (with discrete branches only; True = allowed), `noise` [n, C + W] float32 (zeros give
    the most likely action). Outputs: `continuous_actions` [n, C] (if C > 0), `discrete_actions` [n, B] int64 (if
    B > 0), `head_params` [n, P].

    Raises:
        ParityError: If onnxruntime would not compute what torch does; nothing is written then.
    """
    return graph.write(policy_model(archetype), path)


def policy_model(archetype: Archetype) -> onnx.ModelProto:
    """The policy graph of an archetype, checked against torch."""
    learner = build_learner(archetype)

    def act(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        state = {key: inputs[f"state.{key}"] for key in learner.acting}
        return decide(archetype, state, inputs)

    def example(rows: int, generator: Generator) -> dict[str, Tensor]:
        state = example_state(archetype, rows, generator)
        named = {f"state.{key}": value for key, value in state.items()}
        return example_inputs(archetype, rows, generator) | named

    model = graph.trace(act, example(TRACED_ROWS, Generator().manual_seed(0)), output_names(archetype))
    graph.describe(model, archetype, "policy", {})
    parity.check(model.SerializeToString(), act, example, archetype.spec.action)
    return model


def decide(archetype: Archetype, state: Params, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Actions and head parameters of each row from its state and observation; every row is a task of its own."""
    learner = build_learner(archetype)
    params = learner.predict(archetype.meta, state, inputs["observation"].unsqueeze(1))[:, 0]
    return _actions(learner, params, inputs)


def decide_together(archetype: Archetype, state: Params, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same for one character: all rows are observations of the single task in `state`."""
    learner = build_learner(archetype)
    params = learner.predict(archetype.meta, state, inputs["observation"].unsqueeze(0))[0]
    return _actions(learner, params, inputs)


def _actions(learner: Learner, params: Tensor, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    mask = inputs.get("action_mask", torch.zeros(0, dtype=torch.bool))
    action = learner.head.sample(params, mask, inputs["noise"])
    return {"continuous_actions": action.continuous, "discrete_actions": action.discrete, "head_params": params}


def output_names(archetype: Archetype) -> list[str]:
    """The outputs that a graph of this archetype has."""
    action = archetype.spec.action
    continuous = ["continuous_actions"] if action.continuous_size else []
    discrete = ["discrete_actions"] if action.branch_sizes else []
    return [*continuous, *discrete, "head_params"]


def example_inputs(archetype: Archetype, rows: int, generator: Generator) -> dict[str, Tensor]:
    """Observations as the archetype saw them while training, with random masks and noise."""
    spec, head = archetype.spec, build_learner(archetype).head
    mean, std = torch.tensor(archetype.normaliser.mean), torch.tensor(archetype.normaliser.std)
    inputs = {"observation": mean + std * torch.randn(rows, spec.observation_size, generator=generator)}
    if spec.action.branch_sizes:
        # The first choice of every branch stays allowed, so that there is always one.
        masks = [torch.rand(rows, size, generator=generator) < 0.7 for size in spec.action.branch_sizes]
        for mask in masks:
            mask[:, 0] = True
        inputs["action_mask"] = torch.cat(masks, -1)
    inputs["noise"] = head.draw_noise(generator, (rows,))
    return inputs


def example_state(archetype: Archetype, rows: int, generator: Generator) -> Params:
    """Acting states of different characters: those of unadapted NPCs, each value shaken."""
    learner = build_learner(archetype)
    begun = learner.begin(archetype.meta, rows, draw_state_noise(learner, range(rows)))
    return {
        key: value + 0.05 * value.abs().mean().clamp_min(0.1) * torch.randn(value.shape, generator=generator)
        for key, value in begun.items()
        if key in learner.acting
    }
