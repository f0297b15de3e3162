"""ONNX assets of archetypes and NPCs: one function, one registry of targets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from npcmeta.archetype import Archetype, Npc, begin_npc
from npcmeta_export import graph
from npcmeta_export.adapt import export_adapt
from npcmeta_export.begin import begin_model
from npcmeta_export.manifest import write_manifest
from npcmeta_export.npc import export_npc
from npcmeta_export.parity import ParityError
from npcmeta_export.policy import export_policy
from npcmeta_export.runtime import load_session

__all__ = ["TARGETS", "ParityError", "export", "export_adapt", "export_npc", "export_policy", "load_session"]


def _policy(archetype: Archetype, npc: Npc | None, folder: Path) -> Path:
    return export_policy(archetype, folder / f"{archetype.name}.policy.onnx")


def _adapt(archetype: Archetype, npc: Npc | None, folder: Path) -> Path:
    return export_adapt(archetype, folder / f"{archetype.name}.adapt.onnx")


def _begin(archetype: Archetype, npc: Npc | None, folder: Path) -> Path:
    return graph.write(begin_model(archetype), folder / f"{archetype.name}.begin.onnx")


def _ort(archetype: Archetype, npc: Npc | None, folder: Path) -> Path:
    npc = npc or begin_npc(archetype, archetype.name)
    return export_npc(archetype, npc, folder / f"{npc.name}.ort.onnx")


TARGETS: dict[str, Callable[[Archetype, Npc | None, Path], Path]] = {
    "policy": _policy,
    "adapt": _adapt,
    "begin": _begin,
    "ort": _ort,
}


def export(archetype: Archetype, target: str, folder: Path, npc: Npc | None = None) -> list[Path]:
    """Writes the assets of a target into `folder`, and names them in its manifest.

    Args:
        archetype: The archetype.
        target: One of `TARGETS`.
        folder: Made if there is none.
        npc: The NPC to fold in, for targets of one NPC; the unadapted one if left out.

    Returns:
        The assets and the manifest.

    Raises:
        ValueError: If there is no such target, or the learner has no such graph.
        ParityError: If onnxruntime would not compute what torch does; nothing is written then.
    """
    if target not in TARGETS:
        raise ValueError(f'there is no export target "{target}"; expected one of: {", ".join(TARGETS)}')
    asset = TARGETS[target](archetype, npc, folder)
    return [asset, write_manifest(folder, asset, archetype, target)]
