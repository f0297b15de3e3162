"""`npcmeta export`: ONNX assets for a game."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console
from rich.markup import escape

from npcmeta.archetype import load_archetype, load_npc
from npcmeta.recordings.folder import read_demonstrations
from npcmeta.tasks.timelines import as_examples
from npcmeta_server.cli import results
from npcmeta_server.cli.evaluate import archetype_file


def export(
    archetype: Annotated[Path, tyro.conf.Positional],
    target: str,
    out: Path,
    npc: Path | None = None,
    demo: tuple[Path, ...] = (),
) -> None:
    """Write an ONNX asset, after checking that onnxruntime computes what torch does.

    Args:
        archetype: An archetype file, or a folder that train wrote.
        target: policy (one graph for all NPCs, states as inputs), adapt (the inner loop: examples and a state in, the
            adapted state out), begin (states of unadapted NPCs, for the first call of adapt), ort (one NPC, its state
            folded in), mlagents and sentis (Unity; one NPC, or without one all of them, states as inputs), godot (Godot
            RL Agents, one NPC) or state (what one NPC is, for the graphs that take it as an input).
        out: Folder for the asset and its manifest.
        npc: The NPC file, for targets that hold one NPC.
        demo: Demonstrations, .npz or Unity .demo files, to compare onnxruntime with torch on as well.
    """
    from npcmeta_export import export as export_assets
    from npcmeta_export.manifest import inputs
    from npcmeta_export.played import played

    torch.set_num_threads(1)
    loaded = load_archetype(archetype_file(archetype))
    character = load_npc(npc, loaded) if npc is not None else None
    recorded = as_examples(read_demonstrations(demo, loaded.spec)) if demo else played(loaded)
    results.reserve(out / "manifest.json")
    written = export_assets(loaded, target, out, npc=character, recorded=recorded)
    for path in written:
        Console().print(escape(f"wrote {path} ({path.stat().st_size:,} bytes)"), highlight=False, soft_wrap=True)
    if target == "mlagents":
        for name, shape in inputs(written[0].read_bytes()).items():
            if name.startswith("obs_"):
                Console().print(f"{name}: a vector sensor with Space Size {shape[1]}", highlight=False)
