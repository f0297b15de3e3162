"""Table 1 of the CAVIA paper (Zintgraf et al. 2019): sinusoid regression against the number of added parameters.

python benchmarks/papers/cavia_table1.py --out DIR [--steps STEPS] [--only cavia:2,maml:0] [--seed 0]

CAVIA adapts nothing but a context vector; MAML adapts all weights, and as many added input biases. Both make one inner
step on 10 points. An interrupted run goes on where it was: finished cells and a checkpoint of the one in training are
kept in DIR.

As in the paper: relu 40-40, 25 tasks in a meta-batch, 10 support and 10 query points, the squared error, one inner step
of a rate of 1.0 (CAVIA) or 0.1 (MAML), the weights of the best validation kept; for CAVIA, Adam with a rate of 1e-3.

Ours: weights and biases begin uniform within 1 / sqrt(inputs of the layer), where the authors' code has the outputs of
the layer; the outer rate falls to zero over the second half; an average of the weights is what counts; and the norm of
the meta-gradient is clipped to 10, where theirs clamps each value of each task's gradient to 10 for CAVIA and clips
nothing for MAML. MAML is trained by SOAP on 50 tasks in each of half as many steps, its norm is clipped to 1, its added
inputs begin with large weights, and a term of its loss keeps hidden units from ending as zero for all inputs, as many
do without it. Without added parameters it is trained for more than three times as long as the others.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Generator, Tensor

from npcmeta import training
from npcmeta.learners import Settings
from npcmeta.learners.cavia import CaviaSettings
from npcmeta.learners.maml import MamlSettings
from npcmeta.outer_loop import Outcome, OuterLoop, OuterSettings
from npcmeta.tasks.sinusoid import SinusoidFamily
from npcmeta.types import Learner, Params, Task

PAPER = {
    "cavia": {1: 0.84, 2: 0.21, 3: 0.20, 4: 0.19, 5: 0.19, 50: 0.19},
    "maml": {0: 0.33, 1: 0.29, 2: 0.24, 3: 0.24, 4: 0.23, 5: 0.23, 50: 0.23},
}
"""Learner -> added parameters -> the paper's mean squared error."""
SHOTS = 10
TEST_TASKS, VALIDATION_TASKS = 1000, 200
AWAKE, IDLE_WEIGHT = 0.1, 0.1
"""What the preactivations of a hidden unit should reach for some inputs, and what it costs per unit if not."""
SQUARED_ERROR = math.sqrt(0.5)
"""The fixed spread under which the NLL is the squared error, but for a constant."""


class Cell(NamedTuple):
    """One number of the table."""

    learner: str
    added: int

    @property
    def name(self) -> str:
        """As `--only` has it."""
        return f"{self.learner}:{self.added}"


CELLS = [Cell(learner, added) for learner, row in PAPER.items() for added in row]


def steps_of(cell: Cell) -> int:
    """Outer steps of 25 tasks each, if nobody says otherwise; the paper has 50,000 for all cells."""
    return 50_000 if cell.added else 180_000


def cell_settings(cell: Cell) -> Settings:
    """The paper's learner."""
    if cell.learner == "cavia":
        return CaviaSettings(
            hidden=(40, 40), context=cell.added, inner_rate=1.0, inner_steps=1, inner_clip=0.0,
            unadapted_share=0.0, fixed_std=SQUARED_ERROR,
        )  # fmt: skip
    return MamlSettings(
        hidden=(40, 40), added_inputs=cell.added, inner_rate=0.1, inner_steps=1, inner_clip=0.0,
        unadapted_share=0.0, fixed_std=SQUARED_ERROR,
    )  # fmt: skip


def outer_settings(learner: str, steps: int) -> OuterSettings:
    """The paper's outer loop for CAVIA; for MAML one that sees as many tasks, in half of the steps."""
    settings = OuterSettings(
        meta_steps=steps, meta_batch=25, rate=1e-3, weight_decay=0.0, clip=10.0, min_shots=SHOTS, max_shots=SHOTS,
        query_shots=SHOTS,
    )  # fmt: skip
    if learner == "cavia":
        return settings
    return dataclasses.replace(
        settings, meta_steps=max(1, steps // 2), meta_batch=50, optimizer="soap", rate=1e-2, averaging=0.995,
        clip=1.0,
    )  # fmt: skip


def paper_learner(cell: Cell) -> Learner:
    """The learner, with weights and biases that begin uniform within 1 / `divisors`.

    It matters that biases are drawn, too: when all are zero, as `networks.init_mlp` has them, all hidden units of a
    network with one input bend at the same point, and training is slow to spread them.
    """
    learner = cell_settings(cell).build(SinusoidFamily.spec)
    by = divisors(cell)

    def init(generator: Generator) -> Params:
        drawn = learner.init(generator)
        return drawn | {
            key: (2 * torch.rand(drawn[key].shape, generator=generator) - 1) / by.get(key, by[key[0]])
            for key in drawn
            if key != "added"
        }

    if cell.learner == "cavia":
        return learner._replace(init=init)

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        loss, parts = learner.meta_loss(meta, task, generator)
        return loss + IDLE_WEIGHT * idleness(meta), parts

    return learner._replace(init=init, meta_loss=meta_loss)


def idleness(meta: Params) -> Tensor:
    """How far hidden units are below a mean of `AWAKE` over the tenth of the inputs that excite them most, summed.

    The gradient of a unit that is zero for all inputs is zero, too, so training would never bring it back.
    """
    inputs = torch.linspace(-5, 5, 60)[:, None]
    first = inputs @ meta["0.weight"] + meta["0.bias"]
    if "added" in meta:
        first = first + meta["added"] @ meta["added_weight"]
    second = first.relu() @ meta["1.weight"] + meta["1.bias"]
    return (AWAKE - torch.cat([first, second], 1).topk(6, 0).values.mean(0)).relu().sum()


def divisors(cell: Cell) -> dict[str, float]:
    """Key, or its first character -> what initial weights and biases are divided by: sqrt(inputs of the layer).

    MAML's inner step is a tenth of CAVIA's, and moves everything. For the added inputs to be what a wave moves most,
    the weights that read them begin large, and those of the last layer begin at half of what they would be.
    """
    by = dict.fromkeys("0a", math.sqrt(1 + cell.added)) | dict.fromkeys("12", math.sqrt(40))
    if cell.learner == "maml":
        by |= {"0": 1.0, "a": math.sqrt(max(cell.added, 1) / 2), "2.weight": 2 * math.sqrt(40)}
    return by


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
