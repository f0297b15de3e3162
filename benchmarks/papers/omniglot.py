"""Few-shot classification of handwritten characters on the small split of Omniglot, trained on five alphabets.

python benchmarks/papers/omniglot.py --data DIR --out DIR [--learners protonet,maml] [--episodes 1000] [--seed 0]

DIR holds images_background_small1.zip and images_background_small2.zip, or what is in them. Training is on the first;
the test is on the alphabets of the second that the first has not. An interrupted run goes on where it was: finished
cells and a checkpoint of each training are kept in --out.

A contender is trained for a fixed number of outer steps, or with --minutes for so long.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Generator, Tensor

from benchmarks.papers.omniglot_contenders import CELLS, CONTENDERS, Cell, Contender, Plan, plan
from npcmeta import evaluate, training
from npcmeta.archetype import draw_state_noise
from npcmeta.learners import settings as learner_settings
from npcmeta.outer_loop import Outcome, OuterLoop
from npcmeta.tasks import omniglot
from npcmeta.tasks.omniglot import OmniglotFamily
from npcmeta.tasks.omniglot.distortion import Distortion
from npcmeta.tasks.omniglot.drawings import Drawings, read_drawings
from npcmeta.types import Learner, Params

QUERY_SHOTS = 5
CHUNK = 10
"""Test episodes at a time."""


Tell = Callable[[str, float], None]
"""Is told what is going on, and how far it is, from 0 to 1."""


def train(planned: Plan, drawings: Drawings, folder: Path, seed: int, tell: Tell) -> tuple[Learner, OuterLoop]:
    """Trains on these characters to the end of the budget, or reads what an earlier run has trained."""
    contender = planned.contender
    family = OmniglotFamily(
        drawings, ways=planned.ways, choices=planned.choices, within=contender.within, distortion=Distortion()
    )
    learner = contender.settings.build(family.spec)
    # Nothing is held out, so there is nothing to choose between checkpoints by: the last one is kept.
    loop = OuterLoop(learner, family, lambda meta: 0.0, contender.outer, seed)
    identity = {
        "learner settings": learner_settings.to_json(contender.settings),
        "tasks": [planned.ways, planned.choices, contender.within],
        "drawings": hashlib.sha256(drawings.pictures.numpy().tobytes()).hexdigest(),
    }

    def watch(outcome: Outcome) -> None:
        tell(f"{planned.name}: training, loss {outcome.loss:.3f}", outcome.fraction)

    training.run(loop, folder / f"{planned.name}.checkpoint", identity, watch)
    return learner, loop


def accuracies(learner: Learner, meta: Params, family: OmniglotFamily, shots: int, episodes: int, tell: Tell) -> Tensor:
    """Share of right answers in each of so many test episodes, which are the same for everybody."""
    generator, found = Generator().manual_seed(episodes), []
    for first in range(0, episodes, CHUNK):
        count = min(CHUNK, episodes - first)
        task = family.sample(generator, count, shots=shots, query_shots=QUERY_SHOTS)
        noise = draw_state_noise(learner, range(first, first + count))
        found.append(evaluate.evaluate(learner, meta, noise, task).accuracy)
        tell("testing", (first + count) / episodes)
    return torch.cat(found)


def measure(
    name: str, contender: Contender, cell: Cell, drawings: Drawings, folder: Path, episodes: int, seed: int, tell: Tell
) -> dict[str, Any]:
    """Trains if need be, and tests one cell; or reads what an earlier run found.

    Raises:
        ValueError: If the folder holds the cell as another command left it.
    """
    asked = {
        "learner": name,
        **cell._asdict(),
        "episodes": episodes,
        "seed": seed,
        "outer": dataclasses.asdict(contender.outer),
    }
    kept = folder / f"{name}-{cell.title.replace(' ', '-')}.json"
    if kept.exists():
        done: dict[str, Any] = json.loads(kept.read_text())
        if done | asked != done:
            raise ValueError(f"{kept} was measured by another command; repeat that one, or choose another --out")
        return done
    planned = plan(name, contender, cell)
    learner, loop = train(planned, omniglot.training_drawings(drawings)[0], folder, seed, tell)
    test = OmniglotFamily(
        omniglot.test_drawings(drawings), ways=cell.ways, choices=planned.choices, within=float(cell.within)
    )
    right = accuracies(
        learner, loop.best, test, cell.shots, episodes, lambda what, share: tell(f"{name}: {what} {cell.title}", share)
    )
    found = asked | {
        "accuracy": float(right.mean()),
        "ci95": 1.96 * float(right.std()) / math.sqrt(len(right)),
        "training_seconds": loop.seconds,
    }
    kept.write_text(json.dumps(found))
    return found


def contenders(names: str, minutes: float | None) -> dict[str, Contender]:
    """The contenders of these names, trained for so many minutes if that was asked for.

    Raises:
        ValueError: If there is no such contender.
    """
    wanted = [name.strip() for name in names.split(",")]
    unknown = [name for name in wanted if name not in CONTENDERS]
    if unknown:
        raise ValueError(f"no contender is called {', '.join(unknown)}; expected some of: {', '.join(CONTENDERS)}")
    found = {name: CONTENDERS[name] for name in wanted}
    if minutes is None:
        return found
    timed = {"minutes": minutes, "meta_steps": 10_000_000}
    return {name: each._replace(outer=dataclasses.replace(each.outer, **timed)) for name, each in found.items()}


def draw_table(results: list[dict[str, Any]]) -> Table:
    """Accuracy in per cent, with 95 % intervals over episodes, one row for each kind of episode."""
    learners = list(dict.fromkeys(found["learner"] for found in results))
    title = "Omniglot, alphabets never seen: accuracy, %"
    table = Table("episode", *learners, title=title, box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    by_cell = {(found["learner"], Cell(*(found[key] for key in Cell._fields))): found for found in results}
    for cell in CELLS:
        row = (by_cell[name, cell] for name in learners)
        table.add_row(cell.title, *(f"{100 * each['accuracy']:.1f}±{100 * each['ci95']:.1f}" for each in row))
    spent = {
        name: sum({found["training_seconds"] for found in results if found["learner"] == name}) for name in learners
    }
    table.add_row("training, minutes", *(f"{seconds / 60:.1f}" for seconds in spent.values()))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with Omniglot's two small background sets")
    parser.add_argument("--out", type=Path, required=True, help="folder for results and checkpoints")
    parser.add_argument("--learners", default=",".join(CONTENDERS), help="contenders, separated by commas")
    parser.add_argument("--minutes", type=float, help="time to train each, instead of a fixed number of steps")
    parser.add_argument("--episodes", type=int, default=1000, help="test episodes of each kind")
    parser.add_argument("--seed", type=int, default=0, help="fixes the weights drawn and the tasks trained on")
    options = parser.parse_args()
    torch.set_num_threads(1)
    wanted, drawings = contenders(options.learners, options.minutes), read_drawings(options.data)
    options.out.mkdir(parents=True, exist_ok=True)
    results = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as progress:
        bar = progress.add_task("reading", total=1.0)
        tell = partial(show, progress, bar)
        for name, contender in wanted.items():
            for cell in CELLS:
                results.append(
                    measure(name, contender, cell, drawings, options.out, options.episodes, options.seed, tell)
                )
    Console().print(draw_table(results))


def show(progress: Progress, bar: TaskID, what: str, fraction: float) -> None:
    """Moves the progress bar."""
    progress.update(bar, description=what, completed=fraction)


if __name__ == "__main__":
    main()
