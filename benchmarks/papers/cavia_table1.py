"""Table 1 of the CAVIA paper (Zintgraf et al. 2019): sinusoid regression against the number of added parameters.

python benchmarks/papers/cavia_table1.py --out DIR [--steps STEPS] [--only cavia:2,maml:0] [--seed 0]

CAVIA adapts nothing but a context vector; MAML adapts all weights, and as many added input biases. Both make one inner
step on 10 points. An interrupted run goes on where it was: finished cells and a checkpoint of the one in training are
kept in DIR.

How the two differ from the paper's is said in `cavia_learners`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.papers.cavia_learners import SHOTS, Cell, outer_settings, paper_learner, steps_of
from npcmeta import training
from npcmeta.outer_loop import Outcome, OuterLoop
from npcmeta.tasks.sinusoid import SinusoidFamily
from npcmeta.types import Learner, Params, Task

PAPER = {
    "cavia": {1: 0.84, 2: 0.21, 3: 0.20, 4: 0.19, 5: 0.19, 50: 0.19},
    "maml": {0: 0.33, 1: 0.29, 2: 0.24, 3: 0.24, 4: 0.23, 5: 0.23, 50: 0.23},
}
"""Learner -> added parameters -> the paper's mean squared error."""
TEST_TASKS, VALIDATION_TASKS = 1000, 200


CELLS = [Cell(learner, added) for learner, row in PAPER.items() for added in row]


def mean_squared_error(learner: Learner, meta: Params, task: Task) -> tuple[float, float]:
    """Mean squared error after adapting, over tasks, and the half width of its 95 % confidence interval."""
    with torch.no_grad():
        count = task.support.weight.shape[0]
        state = learner.update(meta, learner.begin(meta, count, torch.zeros(count, 0)), task.support)
        missed = learner.predict(meta, state, task.query.observation) - task.query.action.continuous
    errors = missed.square().mean((1, 2))
    return float(errors.mean()), 1.96 * float(errors.std()) / math.sqrt(count)


def measure(
    cell: Cell, folder: Path, steps: int, seed: int, watch: Callable[[Outcome], None] = lambda outcome: None
) -> dict[str, Any]:
    """Trains and tests one cell, or reads what an earlier run found.

    Raises:
        ValueError: If the folder holds the cell as another number of steps or another seed left it.
    """
    kept = folder / f"{cell.learner}-{cell.added}.json"
    asked = {"learner": cell.learner, "added": cell.added, "steps": steps, "seed": seed}
    if kept.exists():
        done: dict[str, Any] = json.loads(kept.read_text())
        if done | asked != done:
            raise ValueError(f"{kept} is of {done['steps']} steps and seed {done['seed']}; choose another --out")
        return done
    learner = paper_learner(cell)
    validate = training.validator(learner, family(2, VALIDATION_TASKS), (SHOTS,), VALIDATION_TASKS)
    loop = OuterLoop(learner, family(1), validate, outer_settings(cell.learner, steps), seed)
    checkpoint = kept.with_suffix(".checkpoint")
    training.run(loop, checkpoint, asked, watch)
    error, ci95 = mean_squared_error(learner, loop.best, family(3, TEST_TASKS).evaluation(SHOTS).task)
    found = asked | {"mse": error, "ci95": ci95, "paper": PAPER[cell.learner][cell.added], "seconds": loop.seconds}
    kept.write_text(json.dumps(found))
    checkpoint.unlink()
    return found


def family(seed: int, tasks: int = 1) -> SinusoidFamily:
    """The paper's waves, unscaled; `tasks` of them to evaluate on."""
    return SinusoidFamily(seed, tasks, scale=1.0)


def read_cells(text: str) -> list[Cell]:
    """Cells from `cavia:2,maml:0`; all of them from nothing.

    Raises:
        ValueError: If one is not in the table.
    """
    known = {cell.name: cell for cell in CELLS}
    names = [name.strip() for name in text.split(",") if name.strip()] or list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"the table has no {', '.join(unknown)}; expected some of: {', '.join(known)}")
    return [known[name] for name in names]


def draw_table(results: list[dict[str, Any]]) -> Table:
    """The paper's numbers beside ours."""
    table = Table("learner", "added parameters", "paper", "ours", "95 %", "difference", title="CAVIA, Table 1: MSE")
    for found in results:
        table.add_row(
            found["learner"], str(found["added"]), f"{found['paper']:.2f}", f"{found['mse']:.3f}",
            f"± {found['ci95']:.3f}", f"{found['mse'] - found['paper']:+.3f}",
        )  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for results and checkpoints")
    parser.add_argument("--steps", type=int, help="outer steps of 25 tasks each, the same for every cell")
    parser.add_argument("--only", default="", help="cells to measure, such as cavia:2,maml:0; all by default")
    parser.add_argument("--seed", type=int, default=0, help="fixes the weights drawn and the waves trained on")
    options = parser.parse_args()
    cells = read_cells(options.only)
    options.out.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    results = []
    with Progress(*columns) as progress:
        for cell in cells:
            steps = options.steps or steps_of(cell)
            total = outer_settings(cell.learner, steps).meta_steps
            bar = progress.add_task(cell.name, total=total)
            results.append(measure(cell, options.out, steps, options.seed, partial(show, progress, bar)))
            progress.update(bar, completed=total)
    (options.out / "table1.json").write_text(json.dumps(results, indent=1))
    Console().print(draw_table(results))


def show(progress: Progress, bar: TaskID, outcome: Outcome) -> None:
    """Moves a cell's progress bar."""
    progress.update(bar, completed=outcome.step)


if __name__ == "__main__":
    main()
