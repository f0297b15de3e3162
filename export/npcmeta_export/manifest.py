"""The manifest: which assets a folder holds, what they are, and their digests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import onnx

import npcmeta
from npcmeta import files, header
from npcmeta.archetype import Archetype, Npc, npc_revision

NAME = "manifest.json"


def write_manifest(folder: Path, asset: Path, archetype: Archetype, target: str, npc: Npc | None = None) -> Path:
    """Adds an asset to the folder's manifest, or renews its entry; returns the manifest's path."""
    path = folder / NAME
    entries = read_manifest(folder) | {asset.name: _entry(asset, archetype, target, npc)}
    text = json.dumps({"assets": [entries[file] for file in sorted(entries)]}, indent=1) + "\n"
    files.write_bytes(path, text.encode())
    return path


def _entry(asset: Path, archetype: Archetype, target: str, npc: Npc | None) -> dict[str, Any]:
    data = asset.read_bytes()
    return {
        "file": asset.name,
        "target": target,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_bytes": len(data),
        "inputs": inputs(data) if asset.suffix == ".onnx" else {},
        "archetype": archetype.name,
        "archetype_revision": archetype.revision,
        "learner": archetype.learner_name,
        "npc": None if npc is None else {"name": npc.name, "examples": npc.examples, "digest": npc_revision(npc)},
        "npcmeta_version": npcmeta.__version__,
        "spec": header.spec_to_json(archetype.spec),
    }


def inputs(model: bytes) -> dict[str, list[int | str]]:
    """The shapes of an ONNX file's inputs; an axis of any length has a name."""
    graph = onnx.load_model_from_string(model).graph
    return {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in graph.input
    }


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """The entries of a folder's manifest by the name of their file; none if there is no manifest yet.

    Raises:
        ValueError: If what has its name is none.
    """
    path = folder / NAME
    try:
        return {entry["file"]: entry for entry in json.loads(path.read_text())["assets"]}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not a manifest of npcmeta; move it away, or choose another folder") from error
