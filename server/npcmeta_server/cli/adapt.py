"""`npcmeta adapt`: an NPC from demonstrations, without a game or a server."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from npcmeta import files, posterior
from npcmeta.archetype import Archetype, Npc, begin_npc, build_learner, load_archetype, save_npc
from npcmeta.demonstrations import demonstration
from npcmeta.evaluate import support_nll
from npcmeta.header import checked_name
from npcmeta.recordings.folder import read_demonstrations
from npcmeta.tasks.timelines import as_examples
from npcmeta.types import Examples, Params
from npcmeta_server.cli import results
from npcmeta_server.cli.evaluate import archetype_file
from npcmeta_server.cli.seeds import checked_seed

MAX_ROWS = 10
"""Inner steps that the table shows, beside the first."""

SUSPICION = (
    "are their observations in the range of those that the archetype was trained on? npcmeta data inspect shows them"
)


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
        demo: Demonstrations of the character: .npz or Unity .demo files in the order they were played, or its folder.
        out: The NPC file to write.
        name: The NPC's name; the file's name if left out.
        seed: Fixes what a learner draws at random; the same seed and demonstrations give the same NPC.
    """
    console = Console(highlight=False)
    torch.set_num_threads(1)
    file = archetype_file(archetype)
    _check_paths(file, demo, out)
    name = checked_name(_named_after(out) if name is None else name)
    checked_seed(seed)
    loaded = load_archetype(file)
    npc = begin_npc(loaded, name, seed=seed)
    recording = read_demonstrations(demo, loaded.spec)
    for note in recording.notes:
        console.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)
    examples = as_examples(recording)
    results.reserve(out)
    adapted, nlls = follow(loaded, npc, examples, console)
    save_npc(adapted._replace(demonstrations=(demonstration(examples),)), out)
    for part in report(adapted, nlls):
        console.print(part)
    console.print(escape(f"wrote {out} ({out.stat().st_size:,} bytes)"), soft_wrap=True)
    following = ["npcmeta", "export", archetype, "--npc", out, "--target", "ort", "--out", out.parent / "assets"]
    console.print(escape(f"Next: {shlex.join(map(str, following))}"), soft_wrap=True)


def follow(archetype: Archetype, npc: Npc, examples: Examples, console: Console) -> tuple[Npc, list[float]]:
    """Runs the inner loop under a progress bar; returns the adapted NPC, and the NLL before and after each step.

    Raises:
        ValueError: If the NLL ends at something that is no number.
    """
    shots = examples.weight.sum(-1)
    total = int(build_learner(archetype).num_steps(shots)[0]) + 1
    nlls = []
    for state, nll in track(
        inner_loop(archetype, npc, examples), "adapting", total=total, console=console, transient=True
    ):
        npc = npc._replace(state=state, examples=int(shots[0]))
        nlls.append(nll)
    if not math.isfinite(nlls[-1]):
        raise ValueError(f"adapting {npc.name} diverged: the NLL of the demonstrations is {nlls[-1]}; {SUSPICION}")
    return npc, nlls


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
        shown.add_row(str(step), f"{nlls[step]:.5g}")
    return shown


def how_well_known(npc: Npc) -> str:
    """How well the demonstrations show the character, and what more of them would do."""
    share = float(npc.state["known"])
    target, more = posterior.examples_until_next_tenth(share, npc.examples)
    said = f"{npc.name} is known to {share:.0%}, over situations of all kinds"
    return f"{said}; about {more} more {_examples(more)} would make it {target:.0%}" if more else said


def _examples(count: int) -> str:
    return "example" if count == 1 else "examples"


def report(npc: Npc, nlls: list[float]) -> Iterator[RenderableType]:
    """What the demonstrations have changed."""
    yield table(nlls)
    if "known" in npc.state:
        yield how_well_known(npc)
    yield (
        f"{npc.name}: {npc.examples} {_examples(npc.examples)}; NLL went from {nlls[0]:.4g} to [bold]{nlls[-1]:.4g}[/] "
        "nats per decision (npcmeta evaluate measures it on examples that a character was not adapted to)"
    )
    if nlls[-1] > nlls[0]:
        yield f"[red]problem:[/] adapting made it worse on the demonstrations themselves; {SUSPICION}"


def _check_paths(archetype: Path, demo: tuple[Path, ...], out: Path) -> None:
    if not demo:
        raise ValueError("no demonstration was given; expected --demo FILE..., files ending in .npz or .demo")
    if out.is_dir():
        raise ValueError(f"--out {out} is a folder; expected a file, for example {out / 'guard.npc'}")
    if out.exists():
        files.check_ends(out)
    if out.resolve() in {path.resolve() for path in (archetype, *demo)}:
        raise ValueError(f"--out {out} would overwrite what the NPC is made from; expected another file")


def _named_after(path: Path) -> str:
    """The file's name as a name of an NPC."""
    return re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-_")[:63] or "npc"
