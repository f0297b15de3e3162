"""The adapt graph: the inner loop itself, so that a shipped game adapts characters on the player's own device."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import Generator, Tensor

from npcmeta import posterior
from npcmeta.archetype import Archetype, build_learner, draw_state_noise
from npcmeta.types import Action, Examples
from npcmeta_export import graph, parity
from npcmeta_export.operators import SENTIS_2_1
from npcmeta_export.runtime import load_session

TOLERANCE = 1e-4
"""Largest difference of a head parameter after the whole inner loop."""
STATE_TOLERANCE = 1e-3
"""Largest difference in a tensor of the state, relative to the largest number in it."""
TRACED_TASKS, TRACED_EXAMPLES = 3, 5
STEPS_FROM_DATA = ("finetune",)
"""Learners whose number of inner steps grows with the examples: a graph has a fixed number of them."""


def export_adapt(archetype: Archetype, path: Path) -> Path:
    """Writes the adapt graph of an archetype.

    Inputs: `observation` [n, s, O] float32, `continuous_actions` [n, s, C] float32 (if C > 0), `discrete_actions`
    [n, s, B] int64 and `action_mask` [n, s, W] bool (if B > 0), `weight` [n, s] float32 (0 is padding), and
    `state.<key>` [n, ...] for every key of the learner's state. Outputs: `adapted.<key>`, the new state. Tasks n and
    examples s are dynamic.

    Raises:
        ValueError: If the learner's inner loop cannot be a graph of the operators that engines have.
        ParityError: If onnxruntime would not compute what torch does; nothing is written then.
    """
    return graph.write(adapt_model(archetype), path)


def adapt_model(archetype: Archetype) -> onnx.ModelProto:
    """The adapt graph of an archetype, checked against torch."""
    _check_learner(archetype)
    learner = build_learner(archetype)
    keys = (*learner.acting, *learner.memory)

    def adapt(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        state = {key: inputs[f"state.{key}"] for key in keys}
        reached = learner.update(archetype.meta, state, examples_from(archetype, inputs))
        return {f"adapted.{key}": value for key, value in reached.items()}

    inputs = example_inputs(archetype, TRACED_TASKS, TRACED_EXAMPLES, Generator().manual_seed(0))
    shown = tuple(name for name in inputs if not name.startswith("state."))
    with posterior.products_alone():
        model = graph.trace(adapt, inputs, [f"adapted.{key}" for key in keys], per_example=shown)
    _check_operators(model, archetype)
    graph.describe(model, archetype, "adapt", {})
    _check_parity(model, archetype, adapt)
    return model


def examples_from(archetype: Archetype, inputs: dict[str, Tensor]) -> Examples:
    """The support set in the inputs of the graph; absent kinds of actions have size 0."""
    observation = inputs["observation"]
    none = observation[..., :0]
    action = Action(inputs.get("continuous_actions", none), inputs.get("discrete_actions", none.to(torch.int64)))
    return Examples(observation, action, inputs.get("action_mask", none.to(torch.bool)), inputs["weight"])


def example_inputs(archetype: Archetype, tasks: int, examples: int, generator: Generator) -> dict[str, Tensor]:
    """Demonstrations of characters that play as the unadapted archetype does; some of them show less than others."""
    spec, rows, learner = archetype.spec, (tasks, examples), build_learner(archetype)
    begun = learner.begin(archetype.meta, tasks, draw_state_noise(learner, range(tasks)))
    mean, std = torch.tensor(archetype.normaliser.mean), torch.tensor(archetype.normaliser.std)
    inputs = {"observation": mean + std * torch.randn(*rows, spec.observation_size, generator=generator)}
    mask = torch.ones(*rows, spec.action.mask_size, dtype=torch.bool)
    with torch.no_grad():
        params = learner.predict(archetype.meta, begun, inputs["observation"])
        action = learner.head.sample(params, mask, learner.head.draw_noise(generator, rows))
    if spec.action.continuous_size:
        inputs["continuous_actions"] = action.continuous
    if spec.action.branch_sizes:
        inputs |= {"discrete_actions": action.discrete, "action_mask": mask}
    shown = torch.randint(examples + 1, (tasks, 1), generator=generator)
    inputs["weight"] = (torch.arange(examples) < shown).float()
    return inputs | {f"state.{key}": value.contiguous() for key, value in begun.items()}


def _check_parity(model: onnx.ModelProto, archetype: Archetype, adapt: graph.Function) -> None:
    session, learner = load_session(model.SerializeToString()), build_learner(archetype)
    for tasks in parity.BATCHES:
        inputs = example_inputs(archetype, tasks, TRACED_EXAMPLES + tasks % 7, Generator().manual_seed(tasks))
        found = {name: torch.from_numpy(value) for name, value in parity.run(session, inputs).items()}
        with torch.no_grad():
            expected = adapt(inputs)
            played = [
                learner.predict(archetype.meta, {key: state[f"adapted.{key}"] for key in learner.acting},
                                inputs["observation"]).numpy()
                for state in (found, expected)
            ]  # fmt: skip
        parity.compare_numbers({"head_params": played[0]}, {"head_params": played[1]}, tasks, TOLERANCE)
        scale = {name: value.abs().amax().clamp_min(1.0) for name, value in expected.items()}
        parity.compare_numbers(
            {name: (value / scale[name]).numpy() for name, value in found.items()},
            {name: (value / scale[name]).numpy() for name, value in expected.items()},
            tasks,
            STATE_TOLERANCE,
        )


def _check_learner(archetype: Archetype) -> None:
    if archetype.learner_name in STEPS_FROM_DATA:
        raise ValueError(
            f'the learner "{archetype.learner_name}" has no adapt graph: its number of inner steps depends on how many '
            "examples there are; train one of the others, bayes for example"
        )


def _check_operators(model: onnx.ModelProto, archetype: Archetype) -> None:
    foreign = sorted({node.op_type for node in model.graph.node} - SENTIS_2_1)
    if foreign:
        raise ValueError(
            f'the learner "{archetype.learner_name}" has no adapt graph: its inner loop needs {", ".join(foreign)}, '
            "which engines do not have"
        )
