"""Templates: the graph of an engine, traced and checked once, into which the state of any NPC is put.

Putting a state in traces, parses and runs nothing: the bytes of the state replace those that stood there. That the
file computes what torch does follows from two checks when the template was made: the same graph, with states as
inputs, agreed with torch for several characters; and a file that is put together from bytes is, read again, the graph
with that state in it. `verify` compares with torch for one NPC besides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import onnx
from onnxruntime import InferenceSession
from torch import Generator, Tensor

from npcmeta.archetype import Archetype, Npc, begin_npc, npc_revision
from npcmeta.types import Params
from npcmeta_export import engine, graph, parity
from npcmeta_export.engine import HEAD_PARAMS, NOISE, Engine, Inputs, Policy, decide, decide_together
from npcmeta_export.runtime import load_session

TRACED_ROWS = 3
CHARACTERS = 3
"""How many different states a template is checked with."""


class Template(NamedTuple):
    """One engine's graph of one archetype."""

    policy: Policy
    engine: Engine
    content: bytes  # the file of an unadapted NPC, but for what names the NPC
    places: dict[str, slice]  # where in it the keys of the state are, in order
    session: InferenceSession  # the same graph with the state, and noise if it draws, as inputs


def make_template(archetype: Archetype, target: Engine, recorded: Tensor | None = None) -> Template:
    """Traces and checks an engine's graph for single NPCs of an archetype.

    Args:
        archetype: The archetype.
        target: The engine.
        recorded: Observations [m, O] of real play to check with, beside random ones.

    Raises:
        ParityError: If onnxruntime would not compute what torch does.
    """
    policy = engine.policy_of(archetype)
    first = by_name_of(policy, begin_npc(archetype, archetype.name).state)

    def act(inputs: Inputs) -> Inputs:
        return decide_together(policy, target, engine.from_names(policy, inputs), inputs)

    traced = _trace(policy, target, act, first, fixed=tuple(first))
    model = graph.checked(graph.with_values(_finish(policy, target, traced), first))
    session = load_session(graph.to_bytes(_checked_form(target, traced)))
    for seed in range(CHARACTERS):
        state = engine.by_name(engine.example_state(policy, 1, Generator().manual_seed(seed)))
        _check(policy, target, session, act, lambda rows, state=state: state, recorded)  # type: ignore[misc]
    if target.draws_inside:
        parity.check_noise(load_session(graph.to_bytes(graph.with_values(traced, first))), policy, target)
    graph.describe(model, archetype, target.name)
    content = graph.to_bytes(model)
    made = Template(policy, target, content, graph.places(model, content, first), session)
    _check_filling(made, model, archetype)
    return made


def shared_model(archetype: Archetype, target: Engine, name: str, recorded: Tensor | None = None) -> onnx.ModelProto:
    """An engine's graph for all NPCs of an archetype, their states as inputs; checked as a template is."""
    policy = engine.policy_of(archetype)

    def act(inputs: Inputs) -> Inputs:
        return decide(policy, target, target.unpack(policy, inputs), inputs)

    def states(rows: int) -> Inputs:
        return target.pack(engine.example_state(policy, rows, Generator().manual_seed(rows)))

    traced = _trace(policy, target, act, states(TRACED_ROWS))
    model = graph.checked(_finish(policy, target, traced))
    _check(policy, target, load_session(graph.to_bytes(_checked_form(target, traced))), act, states, recorded)
    if target.draws_inside:
        parity.check_noise(load_session(graph.to_bytes(traced)), policy, target)
    graph.describe(model, archetype, name)
    graph.add_facts(model, {"source_digest": archetype.revision})
    return model


def fill(template: Template, npc: Npc) -> bytes:
    """The file of an NPC: the template with its state in it.

    Raises:
        ParityError: If the state is of another size than the archetype's.
    """
    state, content, parts, end = by_name_of(template.policy, npc.state), memoryview(template.content), [], 0
    for name, place in template.places.items():
        held = state[name].numpy().reshape(-1).view("uint8").data
        if held.nbytes != place.stop - place.start:
            raise parity.ParityError(f"{name}: {held.nbytes} bytes of state; expected {place.stop - place.start}")
        parts += [content[end : place.start], held]
        end = place.stop
    return b"".join([*parts, content[end:], graph.to_bytes(_naming(npc))])


def verify(template: Template, npc: Npc, recorded: Tensor | None = None) -> None:
    """Compares with torch what the template makes of an NPC's state, for one observation and many.

    Raises:
        ParityError: If onnxruntime would not compute what torch does.
    """
    policy, target, state = template.policy, template.engine, by_name_of(template.policy, npc.state)

    def act(inputs: Inputs) -> Inputs:
        return decide_together(policy, target, engine.from_names(policy, inputs), inputs)

    _check(policy, target, template.session, act, lambda rows: state, recorded)


def by_name_of(policy: Policy, state: Params) -> Inputs:
    """The acting part of one NPC's state, [1, ...] each, as graphs name it."""
    return engine.by_name({key: state[key].contiguous() for key in policy.learner.acting})


def _trace(
    policy: Policy, target: Engine, act: graph.Function, state: Inputs, fixed: tuple[str, ...] = ()
) -> onnx.ModelProto:
    """The graph with the state as inputs, and with what only checks read as further outputs."""
    inputs = target.example(policy, TRACED_ROWS, Generator().manual_seed(0)) | state
    extra = [name for name in _for_checks(target) if name not in target.outputs(policy.action)]
    return graph.trace(act, inputs, [*target.outputs(policy.action), *extra], fixed=fixed)


def _for_checks(target: Engine) -> list[str]:
    return [HEAD_PARAMS, NOISE] if target.draws_inside else [HEAD_PARAMS]


def _finish(policy: Policy, target: Engine, traced: onnx.ModelProto) -> onnx.ModelProto:
    """What an engine gets of a traced graph."""
    extra = [name for name in _for_checks(target) if name not in target.outputs(policy.action)]
    made = graph.without_outputs(traced, extra)
    graph.add_constants(made, target.constants(policy.action))
    return made


def _checked_form(target: Engine, traced: onnx.ModelProto) -> onnx.ModelProto:
    """What can be compared with torch of a traced graph: noise is given, not drawn."""
    return graph.with_input(traced, NOISE) if target.draws_inside else traced


def _checking_inputs(policy: Policy, target: Engine, rows: int, generator: Generator) -> Inputs:
    inputs = target.example(policy, rows, generator)
    if target.draws_inside:
        inputs[NOISE] = policy.learner.head.draw_noise(generator, (rows,))
    return inputs


def _check(
    policy: Policy,
    target: Engine,
    session: InferenceSession,
    act: graph.Function,
    states: Callable[[int], Inputs],
    recorded: Tensor | None,
) -> None:
    """Compares with torch on one row and on many, of random observations and of recorded ones."""
    branches = policy.action.branch_sizes
    for rows in parity.BATCHES:
        inputs = _checking_inputs(policy, target, rows, Generator().manual_seed(rows))
        for seen in (inputs[target.observation], *parity.picked(recorded, rows)):
            parity.check(session, act, inputs | {target.observation: seen} | states(rows), branches)


def _naming(npc: Npc) -> onnx.ModelProto:
    """What a file says about its NPC, as a model of nothing else: its bytes, behind those of a model, add to it."""
    model = onnx.ModelProto()
    facts = {"npc": npc.name, "npc_examples": str(npc.examples), "source_digest": npc_revision(npc)}
    graph.add_facts(model, facts)
    return model


def _check_filling(template: Template, model: onnx.ModelProto, archetype: Archetype) -> None:
    """That a file put together from bytes is, read again, the model with an NPC's state and name in it."""
    state = engine.example_state(template.policy, 1, Generator().manual_seed(0))
    npc = begin_npc(archetype, archetype.name)
    npc = npc._replace(state=npc.state | state)
    expected = graph.with_tensors(model, by_name_of(template.policy, npc.state))
    expected.MergeFrom(_naming(npc))
    if onnx.ModelProto.FromString(fill(template, npc)) != expected:
        raise parity.ParityError(f"{archetype.name}: a file with a state in it is not the graph with that state")
