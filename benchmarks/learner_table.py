"""Every learner on every family: how well it adapts, and what it costs to train, to adapt, to keep and to act.

OMP_NUM_THREADS=1 python benchmarks/learner_table.py --out DIR [--families arena,overcooked,character]
    [--learners bayes,maml] [--minutes 1.0 | --meta-steps N] [--split 0] [--seed 0] [--write-docs docs/learners.md]

An interrupted run goes on where it was: finished cells and a checkpoint of the one in training are kept in DIR.
Everything runs in one process on one thread, and all times are processor time, so that other work on the machine shows
little. With --minutes everybody trains for as long, with --meta-steps for as many steps, whatever they cost.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from safetensors import safe_open
from torch import Generator

from npcmeta import __version__, evaluate, tasks, training
from npcmeta.archetype import Archetype, build_learner, draw_state_noise
from npcmeta.learners import LEARNERS
from npcmeta.outer_loop import OuterSettings
from npcmeta.types import TaskSplits
from npcmeta_export import engine, graph
from npcmeta_export.adapt import adapt_model
from npcmeta_export.ort import ORT
from npcmeta_export.policy import policy_model
from npcmeta_export.runtime import load_session
from npcmeta_server.report import generated

SHOTS = {
    "arena": (0, 50, 150, 500),
    "overcooked": (0, 20, 100, 500),
    "character": (0, 1, 5, 20),
    "sinusoid": (0, 1, 5, 10),
}
"""Family -> numbers of shots at which it is measured; adapting is timed at the last."""
NPCS = 200
"""How many NPCs act in the one run that is timed."""
REPEATS = 11
COMMAND = "benchmarks/learner_table.py"

Row = dict[str, Any]
Tell = Callable[[str, float], None]
"""Is told what is going on, and how far it is, from 0 to 1."""


class Budget(NamedTuple):
    """How long every learner is trained, and on what."""

    minutes: float | None
    meta_steps: int | None = None
    split: int = 0
    seed: int = 0

    def outer(self, family: str) -> OuterSettings:
        """The outer loop of everybody in a family."""
        minutes = self.minutes if self.meta_steps is None else None
        return training.choose_outer(family, meta_steps=self.meta_steps, minutes=minutes)


@cache
def splits_of(family: str, split: int) -> TaskSplits:
    """A family's tasks, made once for all learners."""
    return tasks.load_splits(family, None, split)


def measure(family: str, learner: str, budget: Budget, folder: Path, tell: Tell) -> Row:
    """Trains and measures one cell, or reads what an earlier run found.

    Raises:
        ValueError: If the folder holds the cell as another command left it.
    """
    kept = folder / f"{family}-{learner}.json"
    asked = {"family": family, "learner": learner, "split": budget.split, "seed": budget.seed}
    asked["outer"] = dataclasses.asdict(budget.outer(family))
    if kept.exists():
        done: Row = json.loads(kept.read_text())
        if done | asked != done:
            raise ValueError(f"{kept} was measured by another command; repeat that one, or choose another --out")
        return done
    checkpoint = kept.with_suffix(".checkpoint")
    found = asked | {"refused": None} | find(family, learner, budget, checkpoint, tell)
    kept.write_text(json.dumps(found))
    checkpoint.unlink(missing_ok=True)
    return found


def find(family: str, learner: str, budget: Budget, checkpoint: Path, tell: Tell) -> Row:
    """The numbers of a cell, or under `refused` why there are none."""
    splits, settings = splits_of(family, budget.split), training.choose_settings(family, learner, {})
    try:
        settings.build(splits.train.spec)
    except ValueError as error:
        return {"refused": str(error)}
    outer = budget.outer(family)
    normaliser = training.measure_normaliser(splits.train, Generator().manual_seed(budget.seed + 1), outer.max_shots)
    described = training.describe_split(splits, budget.split)
    draft = Archetype(
        f"{family}-{learner}", family, learner, settings, splits.train.spec, normaliser, described, {}, {}
    )
    try:
        archetype = training.train(
            draft,
            splits,
            outer,
            budget.seed,
            checkpoint,
            lambda outcome: tell("training", outcome.fraction),
            time.process_time,
        )
    except FloatingPointError as error:
        return {"refused": str(error)}
    return training_spent(checkpoint) | qualities(archetype, splits, tell) | costs(archetype, splits, tell)


def training_spent(checkpoint: Path) -> Row:
    """Outer steps and minutes of a training, those before an interruption included, from its last checkpoint."""
    with safe_open(checkpoint, "pt") as file:
        progress = json.loads(file.metadata()["npcmeta"])["progress"]
    return {"meta_steps": progress["step"], "training_minutes": progress["seconds"] / 60}


def qualities(archetype: Archetype, splits: TaskSplits, tell: Tell) -> Row:
    """Rows of `evaluate` on the test characters, by the number of shots."""
    learner, rows = build_learner(archetype), {}
    for shots in SHOTS[archetype.family]:
        tell(f"testing, {shots} shots", 1.0)
        named = splits.test.evaluation(shots)
        noise = draw_state_noise(learner, range(len(named.ids)))
        scores = evaluate.evaluate(learner, archetype.meta, noise, named.task)
        unit = tasks.find(archetype.family).unit
        rows[str(shots)] = evaluate.row(archetype.name, archetype.learner_name, shots, named, scores, unit)
    return {"shots": rows}


def costs(archetype: Archetype, splits: TaskSplits, tell: Tell) -> Row:
    """What one NPC costs: milliseconds to adapt it, bytes to keep it, microseconds to let it act, and its export."""
    tell("measuring costs", 1.0)
    learner = build_learner(archetype)
    state = learner.begin(archetype.meta, 1, draw_state_noise(learner, [0]))
    return {
        "adapt_milliseconds": 1e3 * adapt_seconds(archetype, splits),
        "bytes_per_npc": 4 * sum(state[key].numel() for key in learner.acting),
        "act_microseconds": 1e6 * act_seconds(archetype),
        "adapt_graph": adapt_graph(archetype),
    }


def adapt_seconds(archetype: Archetype, splits: TaskSplits) -> float:
    """Median time to make one NPC from the most shots."""
    learner = build_learner(archetype)
    task = splits.test.evaluation(SHOTS[archetype.family][-1]).task
    support, noise = evaluate.take_examples(task.support, slice(0, 1)), draw_state_noise(learner, [0])

    def adapt() -> None:
        with torch.no_grad():
            learner.update(archetype.meta, learner.begin(archetype.meta, 1, noise), support)

    return median_seconds(adapt)


def act_seconds(archetype: Archetype) -> float:
    """Median time of an NPC in one run of the policy graph for many different ones."""
    session, generator = load_session(graph.to_bytes(policy_model(archetype))), Generator().manual_seed(0)
    policy = engine.policy_of(archetype)
    inputs = ORT.example(policy, NPCS, generator) | ORT.pack(engine.example_state(policy, NPCS, generator))
    fed = {value.name: inputs[value.name].detach().numpy() for value in session.get_inputs()}
    return median_seconds(lambda: session.run(None, fed)) / NPCS


def median_seconds(work: Callable[[], Any]) -> float:
    """Median processor time of some work on this thread, after one time that does not count."""
    times = []
    for _ in range(REPEATS + 1):
        began = time.thread_time()
        work()
        times.append(time.thread_time() - began)
    return statistics.median(times[1:])


def adapt_graph(archetype: Archetype) -> str:
    """`yes` if the inner loop can be exported, otherwise why not."""
    try:
        adapt_model(archetype)
    except (ValueError, RuntimeError) as error:  # the exporter's own errors are RuntimeErrors
        return str(error).strip().splitlines()[0]
    return "yes"


def columns(family: str) -> list[str]:
    """Titles of the columns of a family's table."""
    shots = [f"NLL {shots} shots" for shots in SHOTS[family]]
    return ["learner", *shots, "adapt ms", "bytes an NPC", "act µs", "adapt graph", "train min", "steps"]


def texts(row: Row, best: dict[str, float]) -> list[str]:
    """A row as it is shown; the lowest NLL of each column between asterisks."""
    nlls = [
        f"**{found['nll']:.3f}**" if found["nll"] == best[shots] else f"{found['nll']:.3f}"
        for shots, found in row["shots"].items()
    ]
    graph = "yes" if row["adapt_graph"] == "yes" else "no"
    return [
        row["learner"], *nlls, f"{row['adapt_milliseconds']:.2f}", f"{row['bytes_per_npc']:,}",
        f"{row['act_microseconds']:.1f}", graph, f"{row['training_minutes']:.2f}", f"{row['meta_steps']:,}",
    ]  # fmt: skip


def tabulate(rows: list[Row]) -> Iterator[tuple[str, list[list[str]], list[str]]]:
    """Of each family: its name, the texts of its rows, and what has to be said below them."""
    for family in dict.fromkeys(row["family"] for row in rows):
        here = [row for row in rows if row["family"] == family]
        shown = [row for row in here if not row["refused"]]
        best = {str(k): min((row["shots"][str(k)]["nll"] for row in shown), default=0.0) for k in SHOTS[family]}
        notes = [f"`{row['learner']}` is left out: {row['refused']}" for row in here if row["refused"]]
        notes += [
            f"`{row['learner']}`, adapt graph: {row['adapt_graph']}" for row in shown if row["adapt_graph"] != "yes"
        ]
        yield family, [texts(row, best) for row in shown], notes


def markdown(rows: list[Row]) -> str:
    """The tables as Markdown: a heading and a table for each family, and a list of what is missing and why."""
    parts = []
    for family, lines, notes in tabulate(rows):
        titles = columns(family)
        table = [titles, ["---", *["---:"] * (len(titles) - 1)], *lines]
        parts.append(f"### {family}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in table))
        parts += ["\n".join(f"- {note}" for note in notes)] if notes else []
    return "\n\n".join(parts)


def draw_tables(rows: list[Row]) -> Iterator[Table | str]:
    """The tables for a terminal, each followed by its notes."""
    for family, lines, notes in tabulate(rows):
        table = Table(title=family, box=box.SIMPLE, padding=0, show_edge=False)
        for index, title in enumerate(columns(family)):  # titles wrap, numbers do not: it fits 80 columns
            table.add_column(title, min_width=max((len(line[index].strip("*")) for line in lines), default=1))
        for line in lines:
            table.add_row(*(f"[bold]{text.strip('*')}[/]" if text.startswith("**") else text for text in line))
        yield table
        yield from notes


def chosen(text: str, known: list[str], what: str) -> list[str]:
    """Names separated by commas; raises ValueError if one is not known."""
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no {what} is called {', '.join(unknown)}; expected some of: {', '.join(known)}")
    return names


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for results and checkpoints")
    parser.add_argument("--families", default="arena,overcooked,character", help="task families, separated by commas")
    parser.add_argument("--learners", default=",".join(LEARNERS), help="learners, separated by commas; all by default")
    parser.add_argument(
        "--minutes", type=float, default=1.0, help="processor time to train each learner on each family"
    )
    parser.add_argument("--meta-steps", type=int, help="outer steps of each training, instead of a time")
    parser.add_argument("--split", type=int, default=0, help="which tasks are held out")
    parser.add_argument("--seed", type=int, default=0, help="fixes the weights drawn and the tasks trained on")
    parser.add_argument("--write-docs", type=Path, metavar="PAGE", help="page whose generated part is replaced")
    return parser.parse_args()


def main() -> None:
    options = read_options()
    torch.set_num_threads(1)
    families = chosen(options.families, list(SHOTS), "family")
    cells = [(family, name) for family in families for name in chosen(options.learners, list(LEARNERS), "learner")]
    if options.write_docs:
        generated.around(options.write_docs, COMMAND)  # better now than after hours of training
    budget = Budget(options.minutes, options.meta_steps, options.split, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as progress:
        bar = progress.add_task("starting", total=len(cells))
        for done, (family, name) in enumerate(cells):

            def tell(what: str, share: float, done: int = done, title: str = f"{family}, {name}") -> None:
                progress.update(bar, description=f"{title}: {what}", completed=done + 0.9 * share)

            rows.append(measure(family, name, budget, options.out, tell))
        progress.update(bar, description="done", completed=len(cells))
    facts = {"npcmeta": __version__, "torch": torch.__version__, "npcs_acting": NPCS}
    (options.out / "table.json").write_text(json.dumps(facts | {"rows": rows}, indent=1))
    for part in draw_tables(rows):
        Console().print(part)
    if options.write_docs:
        generated.write(options.write_docs, COMMAND, markdown(rows))


if __name__ == "__main__":
    main()
