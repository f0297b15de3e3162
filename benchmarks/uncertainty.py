"""Do learners that draw characters know what they do not know? Waves and guards, seen too little to be told apart.

python benchmarks/uncertainty.py --out DIR [--only latent_np,cnp] [--scale 1.0] [--seed 0]

Trains `latent_np`, `platipus` and `abml`, and `cnp` and `maml` for comparison, on two families: sinusoids, of which one
or two points leave many possible, and guards who were seen in the corridor only, so that nobody knows to which side
they turn. Then every support set is adapted to with many seeds, and the draws are judged as `npcmeta.calibration`
says. Writes `uncertainty.json` and `uncertainty.png`. An interrupted run goes on where it was; `--scale` makes
trainings shorter or longer.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from safetensors.torch import load_file, save_file
from torch import Generator

from benchmarks import uncertainty_pictures
from benchmarks.patrol import PatrolFamily
from npcmeta import calibration, evaluate, training
from npcmeta.learners import settings as learner_settings
from npcmeta.normalising import normalised
from npcmeta.outer_loop import Outcome, OuterLoop, OuterSettings
from npcmeta.tasks.sinusoid import SinusoidFamily
from npcmeta.types import Learner, Params, TaskFamily

WAVES, GUARDS = "waves", "guards"
TEST_TASKS, DRAWS = 200, 32
SMALL = {"hidden": [32, 32], "encoder": [32], "code": 32, "latent": 4, "context": 4, "directions": 4, "dropout": 0.0}
SMALL |= {"activation": "tanh"}
"""Enough for guards; each learner takes what it has."""


class Contender(NamedTuple):
    """Outer steps that take one to three minutes of an idle core on waves; on guards it is half of them."""

    steps: int
    optimizer: str


CONTENDERS = {
    "latent_np": Contender(8_000, "muon"),
    "platipus": Contender(3_000, "adamw"),
    "abml": Contender(2_000, "adamw"),
    "cnp": Contender(6_000, "muon"),
    "maml": Contender(3_000, "adamw"),
}


class Ready(NamedTuple):
    """A trained learner."""

    learner: Learner
    meta: Params
    seconds: float  # of training


def families(name: str, seed: int) -> tuple[TaskFamily, dict[str, TaskFamily]]:
    """What to train on, and what to test on by what was seen of the characters."""
    if name == WAVES:
        return SinusoidFamily(1 + seed), {"anywhere": SinusoidFamily(1001, TEST_TASKS)}
    seen = {"corridor": PatrolFamily(1001, 1.0, TEST_TASKS), "anywhere": PatrolFamily(1001, 0.0, TEST_TASKS)}
    return PatrolFamily(1 + seed), seen


def build(name: str, family: str) -> tuple[Learner, dict[str, Any]]:
    """The learner on raw observations, and its settings."""
    settings = training.choose_settings("sinusoid", name, {})
    if family == GUARDS:
        fields = {field.name for field in dataclasses.fields(settings)}  # type: ignore[arg-type]
        settings = training.choose_settings("sinusoid", name, {k: v for k, v in SMALL.items() if k in fields})
    train, _ = families(family, 0)
    seen = training.measure_normaliser(train, Generator().manual_seed(0), 10)
    return normalised(settings.build(train.spec), seen), learner_settings.to_json(settings)


def trained(name: str, family: str, folder: Path, scale: float, seed: int, watch: Callable[[Outcome], None]) -> Ready:
    """Trains a learner, or reads what an earlier run left."""
    learner, settings = build(name, family)
    steps, optimizer = CONTENDERS[name]
    steps = max(1, round(steps * scale * (1 if family == WAVES else 0.5)))
    outer = OuterSettings(
        meta_steps=steps, meta_batch=25, optimizer=optimizer, rate=5e-3 if optimizer == "muon" else 3e-3,
        weight_decay=0.0, clip=10.0, min_shots=1, max_shots=10, query_shots=20,
    )  # fmt: skip
    kept = folder / f"{family}-{name}.safetensors"
    identity = {"learner": name, "settings": settings, "outer": dataclasses.asdict(outer), "seed": seed}
    described = kept.with_suffix(".json")
    if kept.exists() and described.exists():
        found = json.loads(described.read_text())
        if {key: found[key] for key in identity} != identity:
            raise ValueError(f"{kept} is of another run: {found}; choose another --out")
        return Ready(learner, load_file(kept), found["seconds"])
    loop = OuterLoop(learner, families(family, seed)[0], last_is_best, outer, seed)
    checkpoint = kept.with_suffix(".checkpoint")
    training.run(loop, checkpoint, identity, watch)
    save_file(loop.best, kept)
    described.write_text(json.dumps(identity | {"seconds": loop.seconds}))
    checkpoint.unlink()
    return Ready(learner, loop.best, loop.seconds)


def last_is_best(meta: Params) -> float:
    """No choice among checkpoints: a single draw's NLL, which is what is validated, punishes those that commit."""
    return 0.0


def judge(ready: Ready, name: str, family: str, shots: tuple[int, ...]) -> list[dict[str, Any]]:
    """The rows of the table of one learner."""
    rows = []
    for seen, test in families(family, 0)[1].items():
        for count in shots:
            task = test.evaluation(count).task
            params = calibration.draw_params(ready.learner, ready.meta, task, DRAWS)
            found = calibration.measure(ready.learner, test.spec.action, params, task.query)
            quiet = torch.zeros(TEST_TASKS, ready.learner.noise_size)
            typical = float(evaluate.evaluate(ready.learner, ready.meta, quiet, task).nll.mean())
            row = {"family": family, "learner": name, "seen": seen, "shots": count, "nll_typical": typical}
            rows.append(row | found._asdict())
    return rows


NLLS = {"nll_draw": "one draw", "nll_mixture": "mixture", "nll_character": "whole", "nll_typical": "typical"}
COLUMNS = {
    WAVES: NLLS | {"spread": "spread", "coverage_50": "in 50 %", "coverage_90": "in 90 %"},
    GUARDS: NLLS | {"disagreement": "disagree", "indecision": "waver", "calibration_error": "ECE"},
}
"""Family -> what is shown of a `Calibration`, and as what."""


def draw_table(family: str, rows: list[dict[str, Any]]) -> Table:
    """What `judge` found, in columns that suit the family."""
    table = Table("learner", "seen", "K", *COLUMNS[family].values(), title=f"{family}, NLL in nats per decision")
    for row in rows:
        if row["family"] == family:
            values = [f"{row[name]:.3f}" for name in COLUMNS[family]]
            table.add_row(row["learner"], row["seen"], str(row["shots"]), *values)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for results, pictures and trained learners")
    parser.add_argument("--only", default=",".join(CONTENDERS), help="learners, such as latent_np,cnp")
    parser.add_argument("--scale", type=float, default=1.0, help="how long to train, as a share of the usual")
    parser.add_argument("--seed", type=int, default=0, help="fixes the weights drawn and the tasks trained on")
    options = parser.parse_args()
    names = [name for name in CONTENDERS if name in options.only.split(",")]
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    ready: dict[tuple[str, str], Ready] = {}
    rows: list[dict[str, Any]] = []
    with Progress(*columns) as progress:
        for family in (WAVES, GUARDS):
            for name in names:
                bar = progress.add_task(f"{family} {name}", total=None)
                watch = partial(show, progress, bar)
                done = trained(name, family, options.out, options.scale, options.seed, watch)
                ready[family, name] = done
                rows += judge(done, name, family, (0, 1, 2, 5, 10))
                progress.update(bar, total=1, completed=1)
    (options.out / "uncertainty.json").write_text(json.dumps({"draws": DRAWS, "rows": rows}, indent=1))
    uncertainty_pictures.draw(ready, names, options.out / "uncertainty.png")
    console = Console(width=120)
    for family in (WAVES, GUARDS):
        console.print(draw_table(family, rows))


def show(progress: Progress, bar: TaskID, outcome: Outcome) -> None:
    """Moves a training's progress bar."""
    progress.update(bar, total=round(outcome.step / max(outcome.fraction, 1e-9)), completed=outcome.step)


if __name__ == "__main__":
    main()
