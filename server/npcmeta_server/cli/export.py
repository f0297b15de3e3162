"""`npcmeta export`: ONNX assets for a game."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from npcmeta.archetype import load_archetype, load_npc
from npcmeta_server.cli.evaluate import archetype_file


def export(
    archetype: Annotated[Path, tyro.conf.Positional],
    target: str,
    out: Path,
    npc: Path | None = None,
) -> None:
    """Write an ONNX asset, after checking that onnxruntime computes what torch does.

    Args:
        archetype: An archetype file, or a folder that train wrote.
        target: policy (one graph for all NPCs, states as inputs), adapt (the inner loop: examples and a state in, the
            adapted state out), begin (states of unadapted NPCs, for the first call of adapt) or ort (one NPC, its state
            folded in).
        out: Folder for the asset and its manifest.
        npc: The NPC file, for targets that hold one NPC; without it, the unadapted NPC.
    """
    from npcmeta_export import export as export_assets

    loaded = load_archetype(archetype_file(archetype))
    character = load_npc(npc, loaded) if npc is not None else None
    for path in export_assets(loaded, target, out, npc=character):
        Console().print(f"wrote {path} ({path.stat().st_size:,} bytes)", highlight=False)
