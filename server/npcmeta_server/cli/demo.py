"""`npcmeta demo`: the main job, end to end, on an embedded default."""

from __future__ import annotations

import asyncio
import json as jsonlib
import shlex
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import grpc.aio
import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from npcmeta import tasks
from npcmeta.archetype import Archetype, load_archetype
from npcmeta.tasks.arena.family import ArenaFamily
from npcmeta.tasks.arena.play import ARENAS
from npcmeta.types import Params
from npcmeta_server.cli import results
from npcmeta_server.cli.fitting import fit
from npcmeta_server.cli.train import copy_as_baseline, plan
from npcmeta_server.demo import cast as casting
from npcmeta_server.demo import closed_loop, host, scenes, scores
from npcmeta_server.demo.cast import DEMONSTRATIONS, Cast
from npcmeta_server.demo.closed_loop import ClosedLoop, Contestant
from npcmeta_server.demo.game import Game
from npcmeta_server.demo.recordings import write_recordings
from npcmeta_server.demo.scenes import Live
from npcmeta_server.demo.verify import verify
from npcmeta_server.report.demo import Story, write_report

CHARACTERS_EXPORTED = 3
ARENAS_SHOWN = 8


class Served(NamedTuple):
    """What came back from the server."""

    states: dict[int, Params]  # by number of demonstrations, a row for each character
    adaptation_ms: list[float]
    live: Live | None
    assets: list[Path]


def demo(
    family: str = "arena",
    json: Path | None = None,
    out: Path = Path("npcmeta-demo"),
    minutes: float = 3.0,
    seed: int = 0,
) -> None:
    """Meta-train a small archetype, serve it, adapt NPCs from demonstrations, act, measure, export and report.

    Args:
        family: Task family: arena, character, overcooked or sinusoid. The arena alone has a closed loop.
        json: Where to write the numbers.
        out: Folder for everything that is made.
        minutes: Training time; the baseline is trained beside it for as long.
        seed: Fixes all randomness but what depends on time.
    """
    started, console = time.monotonic(), Console()
    torch.set_num_threads(1)
    if tasks.find(family).needs_data:
        raise ValueError(f'the demo brings its own tasks, and "{family}" needs recordings: use npcmeta train --data')
    results.reserve(json, out / "report.html")
    folder = out / "archetypes" / family
    train(family, folder, minutes, seed, console)
    archetype, baseline = (load_archetype(folder / f"{name}.safetensors") for name in ("archetype", "baseline"))
    cast = casting.gather(family, archetype.split["seed"])
    console.rule("2  A game adapts NPCs over gRPC, and plays")
    served = asyncio.run(play_the_game(archetype, cast, out, console))
    console.rule("3  How much of each character was caught")
    tuned = scores.fine_tune(baseline, cast)
    loop = measure(folder, cast, served.states, tuned, console) if family == "arena" else None
    rows = scores.character_rows(cast, archetype, served.states, tuned, loop)
    console.print(result_table(rows, loop))
    if scores.is_behind(rows):
        console.print(f"  {minutes:g} minutes of this machine were too few for the archetype; give it more (--minutes)")
    shown = write_recordings(cast, archetype.spec, out / "recordings") if family == "arena" else None
    story = Story(archetype, cast, rows, loop, served.live, served.adaptation_ms, served.assets, out, shown)
    report = write_report(story, out / "report.html")
    finish(rows, loop, served.assets, report, json, started, console)


def train(family: str, folder: Path, minutes: float, seed: int, console: Console) -> None:
    """Meta-trains the archetype and its baseline side by side."""
    console.rule(f"1  Meta-training an archetype and its baseline: {family}, {minutes:g} minutes")
    jobs = plan(family, folder, None, None, None, minutes, seed, 0, family, (), True)
    folder.mkdir(parents=True, exist_ok=True)
    fit(jobs, console)
    if jobs[0].draft.learner_name == "finetune":
        copy_as_baseline(jobs[0].path, folder / "baseline.safetensors")


async def play_the_game(archetype: Archetype, cast: Cast, out: Path, console: Console) -> Served:
    """Starts the server and does all that a game does with it."""
    store, name = out / "npcmeta.db", f"archetypes/{archetype.name}"
    for old in (store, *(store.with_name(store.name + end) for end in ("-wal", "-shm"))):
        old.unlink(missing_ok=True)
    with host.server(out / "archetypes", store, out / "server.log") as address:
        console.print(f"  npcmeta serve: {address.grpc} (gRPC), {address.http} (gRPC-Web, Connect)", highlight=False)
        async with grpc.aio.insecure_channel(address.grpc) as channel:
            milliseconds = await adapt(channel, name, cast, console)
            states = {count: await scenes.fetch_states(channel, cast, count) for count in DEMONSTRATIONS}
            live = await act(channel, name, cast, console) if archetype.family == "arena" else None
            assets = await export(channel, archetype, cast, out / "assets", console)
    return Served(states, milliseconds, live, assets)


async def adapt(channel: grpc.aio.Channel, name: str, cast: Cast, console: Console) -> list[float]:
    """Adapts all NPCs; returns milliseconds of those from most demonstrations."""
    with bar(console) as progress:
        task = progress.add_task(f"  adapting NPCs to {len(cast.names)} characters", total=1.0)
        milliseconds = await scenes.adapt_all(
            channel,
            name,
            cast,
            partial(console.print, highlight=False),
            lambda done: progress.update(task, completed=done),
        )
    most = max(DEMONSTRATIONS)
    console.print(
        f"  {most} demonstrations ({most * cast.examples} examples): {np.median(milliseconds):.0f} ms (median) from "
        "the first example to a commit on disk"
    )
    return milliseconds


async def act(channel: grpc.aio.Channel, name: str, cast: Cast, console: Console) -> Live:
    """Plays frames with hundreds of NPCs."""
    with bar(console) as progress:
        task = progress.add_task("  playing at 10 Hz", total=1.0)
        live = await scenes.act_live(channel, name, cast, lambda done: progress.update(task, completed=done))
    console.print(
        f"  {len(live.milliseconds)} frames at 10 Hz with {live.npcs} NPCs: round trip "
        f"{np.median(live.milliseconds):.1f} ms median, {np.quantile(live.milliseconds, 0.99):.1f} ms p99, "
        f"{live.late} late; one NPC was adapted meanwhile and acted on it from frame {live.swapped_at}"
    )
    return live


async def export(
    channel: grpc.aio.Channel, archetype: Archetype, cast: Cast, folder: Path, console: Console
) -> list[Path]:
    """Fetches the policy graph and some NPCs as ONNX files, and checks that they do what the server does."""
    name, most = f"archetypes/{archetype.name}", max(DEMONSTRATIONS)
    npcs = {i: cast.npc(i, most) for i in range(min(CHARACTERS_EXPORTED, len(cast.names)))}
    wanted = {f"npcs/{npc}/assets/ort": f"{npc}.ort.onnx" for npc in npcs.values()}
    paths = await scenes.fetch_assets(
        channel, {f"{name}/assets/policy": f"{archetype.name}.policy.onnx"} | wanted, folder
    )
    found = await verify(Game(channel), name, cast, dict(zip(npcs.items(), paths[1:], strict=True)))
    console.print(
        f"  exported {len(npcs)} characters; in onnxruntime they do what the server's do: {found.observations} "
        f"observations, moves differ by at most {found.difference:.0e}, {100 * found.choices:.0f} % of choices equal"
    )
    return paths


def bar(console: Console) -> Progress:
    """A progress bar that goes away when it is full."""
    return Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True)


def measure(
    folder: Path, cast: Cast, states: dict[int, Params], tuned: scores.Baseline, console: Console
) -> ClosedLoop:
    """Plays everybody in the arena: adapted, fine-tuned, average, ceiling and expert."""
    files = {name: folder / f"{name}.safetensors" for name in ("archetype", "baseline")}
    contestants = {"average": Contestant(files["baseline"], tuned.states[0])}
    contestants |= {f"adapted {k}": Contestant(files["archetype"], states[k]) for k in DEMONSTRATIONS}
    contestants |= {f"finetune {k}": Contestant(files["baseline"], tuned.states[k]) for k in DEMONSTRATIONS if k}
    assert isinstance(cast.family, ArenaFamily)
    personalities = cast.family.personalities[: len(cast.names)]
    shown = closed_loop.least_alike(personalities)
    with bar(console) as progress:
        task = progress.add_task(f"  training ceilings, playing {ARENAS} arenas each", total=1.0)
        return closed_loop.measure(
            personalities,
            contestants,
            files["baseline"],
            [character * ARENAS + arena for character in shown for arena in range(ARENAS_SHOWN)],
            lambda done: progress.update(task, completed=done),
        )


def result_table(rows: list[dict[str, Any]], loop: ClosedLoop | None) -> Table:
    """The demo's table: every number of demonstrations, beside the average policy, fine-tuning, ceiling and expert."""
    count = len({row["name"] for row in rows})
    table = Table(title=f"{count} held-out characters")
    for column in ("", "NLL", "fine-tuned", "gap closed", "fine-tuned"):
        table.add_column(column, justify="left" if not column else "right", no_wrap=True)
    table.add_row("average policy", f"{scores.mean(rows, 'nll_average', 0):.3f}", "", "0 %" if loop else "-", "")
    for k in DEMONSTRATIONS:
        label = f"{k} demonstration{'s' * (k != 1)}" if k else "zero-shot"
        table.add_row(
            label,
            f"{scores.mean(rows, 'nll', k):.3f}",
            f"{scores.mean(rows, 'nll_finetune', k):.3f}" if k else "",
            f"{100 * loop.gap_closed[f'adapted {k}']:.0f} %" if loop else "-",
            f"{100 * loop.gap_closed[f'finetune {k}']:.0f} %" if loop and k else "",
        )
    if loop:
        table.add_row("imitation ceiling", "", "", f"{100 * loop.gap_closed['ceiling']:.0f} %", "")
        table.add_row("expert", "", "", "100 %", "")
    return table


def finish(
    rows: list[dict[str, Any]],
    loop: ClosedLoop | None,
    assets: list[Path],
    report: Path,
    json: Path | None,
    started: float,
    console: Console,
) -> None:
    """Names everything that was made."""
    seconds = time.monotonic() - started
    if json is not None:
        result = {
            "characters": rows,
            "summary": scores.summary(loop),
            "assets": [str(path) for path in assets],
            "report": str(report),
            "seconds": seconds,
        }
        json.write_text(jsonlib.dumps(result, indent=1))
    for path in assets:
        console.print(escape(f"  asset   {path}"), highlight=False)
    if (shown := report.with_name("recordings")).exists():
        said = escape(f"  shown   {shown}: the demonstrations, to try the other commands with")
        console.print(said, highlight=False)
    console.print(f"  report  [bold]{escape(str(report))}[/]", highlight=False)
    console.print(f"  done in {seconds:.0f} seconds", highlight=False)
    # scripts/demo is run by people whose shell does not know npcmeta yet.
    command = "npcmeta" if shutil.which("npcmeta") else str(Path(sys.executable).with_name("npcmeta"))
    serve = shlex.join([command, "serve", "--archetypes", str(report.parent / "archetypes")])
    console.print(f"Next: [bold]{escape(serve)}[/], and the sessions in docs/wire.md", highlight=False, soft_wrap=True)
