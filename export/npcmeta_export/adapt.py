"""The adapt graph: the inner loop itself, so that a shipped game adapts characters on the player's own device."""

from __future__ import annotations

import onnx
import torch
from onnxruntime import InferenceSession
from torch import Generator, Tensor

from npcmeta import posterior, tasks
from npcmeta.archetype import Archetype, build_learner, draw_state_noise
from npcmeta.learners import settings
from npcmeta.types import Action, Examples, Params
from npcmeta_export import graph, parity
from npcmeta_export.operators import SENTIS_2_1
from npcmeta_export.runtime import load_session

TOLERANCE = 1e-4
"""Largest difference of a head parameter after the whole inner loop."""
STATE_TOLERANCE = 1e-3
"""Largest difference in a tensor of the state, relative to the largest number in it."""
TRACED_TASKS = 3
CHECKED_EXAMPLES, USUAL_EXAMPLES = 5, 50
LARGE = ((4, 512),)
"""Tasks and examples of further random support sets that are compared: sums of many examples round more."""
STEPS_FROM_DATA = ("finetune",)
"""Learners whose number of inner steps grows with the examples: a graph has a fixed number of them."""
MAX_STEPS = 64
"""Inner steps of a graph, which holds one behind the other: so many take up to minutes to trace and check."""


def adapt_model(archetype: Archetype, recorded: Examples | None = None, examples: int | None = None) -> onnx.ModelProto:
    """The adapt graph of an archetype, checked against torch.

    Inputs: `observation` [n, s, O] float32, `continuous_actions` [n, s, C] float32 (if C > 0), `discrete_actions`
    [n, s, B] int64 and `action_mask` [n, s, W] bool (if B > 0), `weight` [n, s] float32 (0 is padding), and
    `state.<key>` [n, ...] for every key of the learner's state. Outputs: `adapted.<key>`, the new state. Tasks n and
    examples s are dynamic.

    Args:
        archetype: The archetype.
        recorded: Demonstrations [T, S, ...] of real play to compare with torch on, beside random ones.
        examples: How many a support set usually has; the graph takes any number, and is fastest for about as many. By
            default as many as a demonstration of the archetype's family.

    Raises:
        ValueError: If the learner's inner loop cannot be a graph of the operators that engines have.
        ParityError: If onnxruntime would not compute what torch does.
    """
    _check_inner_loop(archetype)
    family = tasks.FAMILIES.get(archetype.family)
    examples = examples or (family.demonstration if family else USUAL_EXAMPLES)
    try:
        return _model(archetype, recorded, examples, torch.float32)
    except parity.ParityError:
        # Steps that are large for how the loss bends multiply rounding: then torch's own float32 is no closer to the
        # exact result than the graph's, and more digits are what brings the two together.
        return _model(archetype, recorded, examples, torch.float64)


def _model(archetype: Archetype, recorded: Examples | None, examples: int, arithmetic: torch.dtype) -> onnx.ModelProto:
    """The graph with an inner loop of this arithmetic, compared with torch's of the same; inputs stay float32."""
    learner = build_learner(archetype)
    meta, keys = _converted(archetype.meta, arithmetic), (*learner.acting, *learner.memory)

    def adapt(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        inputs = _converted(inputs, arithmetic)
        state = {key: inputs[f"state.{key}"] for key in keys}
        reached = learner.update(meta, state, examples_from(inputs))
        return {f"adapted.{key}": value for key, value in _converted(reached, torch.float32).items()}

    inputs = example_inputs(archetype, TRACED_TASKS, max(2, examples), Generator().manual_seed(0))
    shown = tuple(name for name in inputs if not name.startswith("state."))
    with posterior.products_alone():
        model = graph.trace(adapt, inputs, [f"adapted.{key}" for key in keys], per_example=shown)
    graph.checked(model)
    _check_operators(model, archetype)
    graph.describe(model, archetype, "adapt")
    facts = {"source_digest": archetype.revision, "arithmetic": str(arithmetic).removeprefix("torch.")}
    graph.add_facts(model, facts)
    _check_parity(model, archetype, adapt, recorded)
    return model


def _converted(tensors: Params, arithmetic: torch.dtype) -> Params:
    """Tensors of numbers in this arithmetic; those that are in it stay the same, so that no graph copies them."""
    return {
        key: value.to(arithmetic) if value.is_floating_point() and value.dtype != arithmetic else value
        for key, value in tensors.items()
    }


def examples_from(inputs: dict[str, Tensor]) -> Examples:
    """The support set in the inputs of the graph; absent kinds of actions have size 0."""
    observation = inputs["observation"]
    none = observation[..., :0]
    action = Action(inputs.get("continuous_actions", none), inputs.get("discrete_actions", none.to(torch.int64)))
    return Examples(observation, action, inputs.get("action_mask", none.to(torch.bool)), inputs["weight"])


def example_inputs(archetype: Archetype, num_tasks: int, examples: int, generator: Generator) -> dict[str, Tensor]:
    """Demonstrations of characters that play as the unadapted archetype does; some of them show less than others."""
    spec, rows, learner = archetype.spec, (num_tasks, examples), build_learner(archetype)
    begun = learner.begin(archetype.meta, num_tasks, draw_state_noise(learner, range(num_tasks)))
    mean, std = torch.tensor(archetype.normaliser.mean), torch.tensor(archetype.normaliser.std)
    observation = mean + std * torch.randn(*rows, spec.observation_size, generator=generator)
    mask = torch.ones(*rows, spec.action.mask_size, dtype=torch.bool)
    with torch.no_grad():
        params = learner.predict(archetype.meta, begun, observation)
        action = learner.head.sample(params, mask, learner.head.draw_noise(generator, rows))
    shown = torch.randint(examples + 1, (num_tasks, 1), generator=generator)
    weight = (torch.arange(examples) < shown).float()
    return inputs_of(archetype, Examples(observation, action, mask, weight), begun)


def inputs_of(archetype: Archetype, examples: Examples, state: Params) -> dict[str, Tensor]:
    """The inputs of the graph for support sets [T, S, ...] and states of as many tasks."""
    inputs = {"observation": examples.observation}
    if archetype.spec.action.continuous_size:
        inputs["continuous_actions"] = examples.action.continuous
    if archetype.spec.action.branch_sizes:
        inputs |= {"discrete_actions": examples.action.discrete, "action_mask": examples.action_mask}
    return inputs | {"weight": examples.weight} | {f"state.{key}": value.contiguous() for key, value in state.items()}


def recorded_inputs(archetype: Archetype, recorded: Examples, num_tasks: int) -> dict[str, Tensor]:
    """The inputs for so many unadapted NPCs and recorded demonstrations, repeated if there are fewer."""
    learner, rows = build_learner(archetype), torch.arange(num_tasks) % len(recorded.weight)
    begun = learner.begin(archetype.meta, num_tasks, draw_state_noise(learner, range(num_tasks)))
    return inputs_of(archetype, recorded.map(lambda part: part[rows]), begun)


def _check_parity(
    model: onnx.ModelProto, archetype: Archetype, adapt: graph.Function, recorded: Examples | None
) -> None:
    session = load_session(graph.to_bytes(model))
    for rows, examples in (*((rows, CHECKED_EXAMPLES + rows % 7) for rows in parity.BATCHES), *LARGE):
        drawn = example_inputs(archetype, rows, examples, Generator().manual_seed(rows))
        for inputs in (drawn, *([recorded_inputs(archetype, recorded, rows)] if recorded is not None else [])):
            _compare(session, archetype, adapt, inputs)


def _compare(session: InferenceSession, archetype: Archetype, adapt: graph.Function, inputs: dict[str, Tensor]) -> None:
    """Compares the head parameters after the inner loop, and the states, with torch's."""
    learner, rows = build_learner(archetype), len(inputs["weight"])
    found = {name: torch.from_numpy(value) for name, value in parity.run(session, inputs).items()}
    with torch.no_grad():
        expected = adapt(inputs)
        played = [
            learner.predict(archetype.meta, {key: state[f"adapted.{key}"] for key in learner.acting},
                            inputs["observation"]).numpy()
            for state in (found, expected)
        ]  # fmt: skip
    parity.compare_numbers({"head_params": played[0]}, {"head_params": played[1]}, rows, TOLERANCE)
    scale = {name: value.abs().amax().clamp_min(1.0) for name, value in expected.items()}
    parity.compare_numbers(
        {name: (value / scale[name]).numpy() for name, value in found.items()},
        {name: (value / scale[name]).numpy() for name, value in expected.items()},
        rows,
        STATE_TOLERANCE,
    )


def _check_inner_loop(archetype: Archetype) -> None:
    if archetype.learner_name in STEPS_FROM_DATA:
        raise ValueError(
            f'the learner "{archetype.learner_name}" has no adapt graph: its number of inner steps depends on how many '
            "examples there are; train one of the others, bayes for example"
        )
    steps = settings.to_json(archetype.settings).get("inner_steps", 0)
    if steps > MAX_STEPS:
        raise ValueError(
            f"the inner loop of {archetype.name} makes {steps:,} steps, expected at most {MAX_STEPS} in a graph: "
            f"engines have no loops; train with --settings inner_steps={MAX_STEPS} or fewer, or adapt with a server"
        )


def _check_operators(model: onnx.ModelProto, archetype: Archetype) -> None:
    foreign = sorted({node.op_type for node in model.graph.node} - SENTIS_2_1)
    if foreign:
        raise ValueError(
            f'the learner "{archetype.learner_name}" has no adapt graph: its inner loop needs {", ".join(foreign)}, '
            "which engines do not have"
        )
