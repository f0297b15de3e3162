"""One cell of the learner table: a learner trained on a family, how well it adapts, and what it costs."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Generator

from npcmeta import evaluate, tasks, training
from npcmeta.archetype import Archetype, build_learner, draw_state_noise
from npcmeta.outer_loop import OuterSettings
from npcmeta.types import TaskSplits
from npcmeta_export import engine, graph
from npcmeta_export.adapt import adapt_model
from npcmeta_export.ort import ORT
from npcmeta_export.policy import policy_model
from npcmeta_export.runtime import load_session

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
