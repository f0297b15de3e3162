"""From a task family to an archetype: normaliser, outer loop, validation on held-out tasks, the best weights kept."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from npcmeta import evaluate, learners, precision, tasks
from npcmeta.archetype import Archetype, draw_state_noise
from npcmeta.learners import Settings, choices
from npcmeta.learners import settings as learner_settings
from npcmeta.normalising import normalised
from npcmeta.outer_loop import Outcome, OuterLoop, OuterSettings
from npcmeta.types import Learner, Normaliser, Params, TaskFamily, TaskSplits

NORMALISER_TASKS = 64
MAX_VALIDATION_TASKS = 64
CHOICE_TASKS, HANDFUL = 16, 5
SECONDS_BETWEEN_CHECKPOINTS = 10.0


class Stopped(Exception):
    """Raised by a `watch` that ends a training between two steps; its checkpoint is then written first."""


def choose_settings(family: str, learner: str, overrides: Mapping[str, Any]) -> Settings:
    """The learner's settings: its own defaults, then what suits the family, then `overrides` (JSON values).

    Raises:
        ValueError: On an unknown learner, family or setting, or a value of the wrong kind.
    """
    kind = learners.settings_type(learner)
    values = learner_settings.to_json(kind())
    unknown = set(overrides) - set(values)
    if unknown:
        raise ValueError(f"{learner} has no setting {sorted(unknown)}; expected some of {sorted(values)}")
    fitting = tasks.find(family).learner_settings.get(learner, {})
    return learner_settings.from_json(kind, values | dict(fitting) | dict(overrides))


def choose_outer(family: str, *, meta_steps: int | None, minutes: float | None) -> OuterSettings:
    """The outer loop's settings: the family's defaults, and the budget that was asked for."""
    settings = OuterSettings(**tasks.find(family).outer)
    if minutes is not None:
        settings = dataclasses.replace(settings, minutes=minutes, meta_steps=10_000_000)
    if meta_steps is not None:
        settings = dataclasses.replace(settings, meta_steps=meta_steps)
    return settings


def describe_split(splits: TaskSplits, split: int) -> dict[str, Any]:
    """What an archetype's header says of the tasks: which are where, and the number that chose them."""
    return splits.summary | {"seed": split}


def measure_normaliser(family: TaskFamily, generator: Generator, shots: int) -> Normaliser:
    """Mean and standard deviation of the observations of a sample of training tasks.

    The deviation is at least 0.1: a rare switch must not become a huge number on the tick where it is on. Where all
    values lie close to each other, it is at least a sixth of their range instead, as in normal ones.
    """
    support = family.sample(generator, NORMALISER_TASKS, shots=shots, query_shots=1).support
    seen = support.observation[support.weight > 0].double()  # float32 sums of large numbers miss their own mean
    extent = seen.amax(0) - seen.amin(0)
    least = torch.where(extent > 0, (extent / 6).clamp_max(0.1), 0.1)
    std = torch.maximum(seen.std(0, correction=0), least)
    return Normaliser(tuple(seen.mean(0).tolist()), tuple(std.tolist()))


def validator(
    learner: Learner, family: TaskFamily, shots: tuple[int, ...], max_tasks: int = MAX_VALIDATION_TASKS
) -> Callable[[Params], float]:
    """Builds a function from meta-parameters to their mean adapted NLL over the given shots."""
    score = scorer(learner, family, shots, max_tasks)
    return lambda meta: choices.mean(score(meta))


def scorer(
    learner: Learner, family: TaskFamily, shots: tuple[int, ...], max_tasks: int
) -> Callable[[Params], list[Tensor]]:
    """Builds a function from meta-parameters to the adapted NLL of each task [T], for each of the numbers of shots."""
    batches = [named.task for named in (family.evaluation(k) for k in shots) if named.ids]
    if not batches:
        batches = [family.evaluation(0).task]
    rows = torch.arange(max_tasks)
    batches = [evaluate.take_tasks(task, rows[: task.support.weight.shape[0]]) for task in batches]

    def score(meta: Params) -> list[Tensor]:
        noises = [draw_state_noise(learner, range(task.support.weight.shape[0])) for task in batches]
        pairs = zip(noises, batches, strict=True)
        return [evaluate.evaluate(learner, meta, noise, task).nll for noise, task in pairs]

    return score


def validation_shots(draft: Archetype) -> tuple[int, ...]:
    """At which numbers of shots checkpoints are compared; the baseline is chosen as the average policy it is."""
    return (0,) if draft.learner_name == "finetune" else tasks.find(draft.family).validation_shots


def train(
    draft: Archetype,
    splits: TaskSplits,
    outer: OuterSettings,
    seed: int,
    checkpoint: Path,
    watch: Callable[[Outcome], None],
    clock: Callable[[], float] = time.perf_counter,
) -> Archetype:
    """Trains the archetype that `draft` describes (its meta-parameters are ignored).

    Args:
        draft: Name, family, learner, settings, spec, normaliser and provenance of the archetype.
        splits: What to train and validate on.
        outer: Settings of the outer loop.
        seed: Fixes all randomness.
        checkpoint: Written as training goes on; if it exists, training goes on from it. It is left at the end of
            training, so that nothing is lost until the caller has saved the archetype and deletes it.
        watch: Called after every outer step; it may raise Stopped.
        clock: Tells the seconds of a budget in minutes.

    Returns:
        The archetype with the best meta-parameters.

    Raises:
        ValueError: If torch draws by default in another format than float32, in which archetypes are kept.
    """
    precision.check_default("training")
    learner = normalised(draft.settings.build(draft.spec), draft.normaliser)
    shots = validation_shots(draft)
    loop = OuterLoop(learner, splits.train, validator(learner, splits.validation, shots), outer, seed, clock)
    identity = {"learner": draft.learner_name, "learner settings": learner_settings.to_json(draft.settings),
                "family": draft.family, "split": splits.summary}  # fmt: skip
    run(loop, checkpoint, identity, watch)
    settings = choose(draft, splits, loop.best)
    measured = {"outer": dataclasses.asdict(outer), "seed": seed, "best_validation_nll": loop.best_validation,
                "validation_shots": list(shots), "history": loop.history}  # fmt: skip
    return draft._replace(settings=settings, meta=loop.best, provenance=draft.provenance | measured)


def choose(draft: Archetype, splits: TaskSplits, meta: Params) -> Settings:
    """The settings that training did not fix, by the adapted NLL on a few validation tasks.

    What may be doubted may do harm after a handful of examples, so it is judged there as well.
    """
    usual, settings = tasks.find(draft.family).validation_shots, draft.settings
    for choice in draft.settings.choices(draft.spec):
        shots = usual if choice.doubt is None else tuple(sorted({HANDFUL, *usual}))

        def nll(candidate: Settings, shots: tuple[int, ...] = shots) -> list[Tensor]:
            learner = normalised(candidate.build(draft.spec), draft.normaliser)
            return scorer(learner, splits.validation, shots, CHOICE_TASKS)(meta)

        settings = choices.best(settings, choice, nll)
    return settings


def run(loop: OuterLoop, checkpoint: Path, identity: dict[str, Any], watch: Callable[[Outcome], None]) -> None:
    """Advances the loop to its end, from `checkpoint` if there is one; writes it as training goes on and at the end."""
    if checkpoint.exists():
        loop.resume(checkpoint, identity)
    saved = time.monotonic()
    while not loop.finished:
        outcome = loop.advance()
        try:
            watch(outcome)
        except Stopped:
            loop.save(checkpoint, identity)
            raise
        if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
            loop.save(checkpoint, identity)
            saved = time.monotonic()
    loop.save(checkpoint, identity)
