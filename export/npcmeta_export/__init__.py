"""ONNX assets of archetypes and NPCs: one function, one registry of targets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from npcmeta import files
from npcmeta.archetype import Archetype, Npc, begin_npc
from npcmeta.types import Examples
from npcmeta_export import graph
from npcmeta_export.adapt import adapt_model
from npcmeta_export.begin import begin_model
from npcmeta_export.engine import Engine
from npcmeta_export.godot import GODOT
from npcmeta_export.manifest import read_manifest, write_manifest
from npcmeta_export.mlagents import MLAGENTS
from npcmeta_export.ort import ORT
from npcmeta_export.parity import ParityError
from npcmeta_export.policy import policy_model
from npcmeta_export.runtime import load_session
from npcmeta_export.sentis import SENTIS
from npcmeta_export.state import state_file
from npcmeta_export.template import fill, make_template, shared_model, verify

__all__ = ["STATE", "TARGETS", "ParityError", "export", "load_session"]

Made = tuple[str, bytes]
"""The name of a file, and its content."""


def _policy(archetype: Archetype, npc: Npc | None, recorded: Examples | None) -> Made:
    model = policy_model(archetype, _observations(recorded))
    return f"{archetype.name}.policy.onnx", graph.to_bytes(model)


def _adapt(archetype: Archetype, npc: Npc | None, recorded: Examples | None) -> Made:
    return f"{archetype.name}.adapt.onnx", graph.to_bytes(adapt_model(archetype, recorded))


def _begin(archetype: Archetype, npc: Npc | None, recorded: Examples | None) -> Made:
    return f"{archetype.name}.begin.onnx", graph.to_bytes(begin_model(archetype))


def _single(engine: Engine) -> Callable[[Archetype, Npc | None, Examples | None], Made]:
    """One NPC in a file; the unadapted one if there is none."""

    def make(archetype: Archetype, npc: Npc | None, recorded: Examples | None) -> Made:
        npc = npc or begin_npc(archetype, archetype.name)
        template = make_template(archetype, engine, _observations(recorded))
        verify(template, npc, _observations(recorded))
        return f"{npc.name}.{engine.name}.onnx", fill(template, npc)

    return make


def _either(engine: Engine) -> Callable[[Archetype, Npc | None, Examples | None], Made]:
    """One NPC in a file, or without one a file for all of them, with the state as an input."""

    def make(archetype: Archetype, npc: Npc | None, recorded: Examples | None) -> Made:
        if npc is not None:
            return _single(engine)(archetype, npc, recorded)
        model = shared_model(archetype, engine, engine.name, _observations(recorded))
        return f"{archetype.name}.{engine.name}.onnx", graph.to_bytes(model)

    return make


TARGETS: dict[str, Callable[[Archetype, Npc | None, Examples | None], Made]] = {
    "policy": _policy,
    "adapt": _adapt,
    "begin": _begin,
    "ort": _single(ORT),
    "mlagents": _either(MLAGENTS),
    "sentis": _either(SENTIS),
    "godot": _single(GODOT),
}
"""Graphs."""
STATE = "state"
"""The target that is not a graph: an NPC's acting state, for graphs that take it as an input."""


def export(
    archetype: Archetype, target: str, folder: Path, npc: Npc | None = None, recorded: Examples | None = None
) -> list[Path]:
    """Writes the asset of a target into `folder`, and names it in its manifest.

    Args:
        archetype: The archetype.
        target: One of `TARGETS`, or `STATE`.
        folder: Made if there is none.
        npc: The NPC to fold in. Without it, `mlagents` and `sentis` are for all NPCs, others for an unadapted one.
        recorded: Real play, [T, S, ...], to compare onnxruntime with torch on, beside random observations.

    Returns:
        The asset and the manifest.

    Raises:
        ValueError: If there is no such target, the learner has no such graph, or the folder's manifest is none.
        ParityError: If onnxruntime would not compute what torch does; nothing is written then.
    """
    read_manifest(folder)  # says before the work whether the asset can be named there
    if target == STATE:
        shown = npc or begin_npc(archetype, archetype.name)
        name, data = f"{shown.name}.state.safetensors", state_file(archetype, shown.state)
    elif target in TARGETS:
        name, data = TARGETS[target](archetype, npc, recorded)
    else:
        raise ValueError(f'there is no export target "{target}"; expected one of: {", ".join((*TARGETS, STATE))}')
    files.write_bytes(folder / name, data)
    return [folder / name, write_manifest(folder, folder / name, archetype, target, npc)]


def _observations(recorded: Examples | None) -> Tensor | None:
    return None if recorded is None else recorded.observation.flatten(0, 1)
