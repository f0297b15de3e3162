"""`npcmeta adapt`: an NPC from demonstrations, without a game or a server."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from npcmeta.archetype import Archetype, Npc, begin_npc, build_learner, load_archetype, save_npc
from npcmeta.evaluate import support_nll
from npcmeta.header import checked_name
from npcmeta.recordings.folder import read_demonstrations
from npcmeta.tasks.timelines import as_examples
from npcmeta.types import Examples, Params
from npcmeta_server.cli.evaluate import archetype_file

MAX_ROWS = 10
"""Inner steps that the table shows, beside the first."""


def adapt(
    archetype: Annotated[Path, tyro.conf.Positional],
    demo: tuple[Path, ...],
    out: Path,
    name: str | None = None,
    seed: int = 0,
) -> None:
    """Make an NPC: adapt an archetype to demonstrations of one character.

    Args:
        archetype: An archetype file, or a folder that train wrote.
        demo: Demonstrations of the character, .npz or Unity .demo files, in the order they were played.
        out: The NPC file to write.
        name: The NPC's name; the file's name if left out.
        seed: Fixes what a learner draws at random; the same seed and demonstrations give the same NPC.
    """
    console = Console(highlight=False)
    torch.set_num_threads(1)
    file = archetype_file(archetype)
    _check_paths(file, demo, out)
    loaded = load_archetype(file)
    npc = begin_npc(loaded, checked_name(_named_after(out) if name is None else name), seed=seed)
    recording = read_demonstrations(demo, loaded.spec)
    for note in recording.notes:
        console.print(f"[yellow]note:[/] {escape(note)}")
    nlls = []
    total = int(build_learner(loaded).num_steps(torch.tensor([float(recording.steps)]))[0]) + 1
    steps = inner_loop(loaded, npc, as_examples(recording))
    for state, nll in track(steps, "adapting", total=total, console=console, transient=True):
        npc = npc._replace(state=state, examples=recording.steps)
        nlls.append(nll)
    _check_finite(npc.name, nlls[-1])
    save_npc(npc, out)
    console.print(table(nlls))
    console.print(
        f"{npc.name}: {recording.steps} examples; their NLL went from {nlls[0]:.3f} to [bold]{nlls[-1]:.3f}[/] nats "
        "per decision (npcmeta evaluate measures it on examples that a character was not adapted to)"
    )
    console.print(escape(f"wrote {out} ({out.stat().st_size:,} bytes)"), soft_wrap=True)
    console.print(
        escape(f"Next: npcmeta export {archetype} --npc {out} --target ort --out {out.parent / 'assets'}"),
        soft_wrap=True,
    )


def inner_loop(archetype: Archetype, npc: Npc, examples: Examples) -> Iterator[tuple[Params, float]]:
    """The states of the inner loop, the one before its first step included, each with its NLL of the examples."""
    learner = build_learner(archetype)
    with torch.no_grad():
        for state in learner.steps(archetype.meta, npc.state, examples):
            yield state, float(support_nll(learner, archetype.meta, state, examples))


def table(nlls: list[float]) -> Table:
    """NLL before the first inner step and after the others, evenly picked where there are many."""
    shown = Table("inner step", "NLL of the demonstrations")
    rows = min(len(nlls) - 1, MAX_ROWS)
    for row in range(rows + 1):
        step = round(row * (len(nlls) - 1) / max(rows, 1))
        shown.add_row(str(step), f"{nlls[step]:.4f}")
    return shown


def _check_finite(name: str, nll: float) -> None:
    if not math.isfinite(nll):
        raise ValueError(
            f"adapting {name} diverged: the NLL of the demonstrations is {nll}; are their observations in the range of "
            "those that the archetype was trained on? npcmeta data inspect shows them"
        )


def _check_paths(archetype: Path, demo: tuple[Path, ...], out: Path) -> None:
    if not demo:
        raise ValueError("no demonstration was given; expected --demo FILE..., files ending in .npz or .demo")
    if out.is_dir():
        raise ValueError(f"--out {out} is a folder; expected a file, for example {out / 'guard.npc'}")
    if out.resolve() in {path.resolve() for path in (archetype, *demo)}:
        raise ValueError(f"--out {out} would overwrite what the NPC is made from; expected another file")


def _named_after(path: Path) -> str:
    """The file's name as a name of an NPC."""
    return re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-_")[:63] or "npc"
