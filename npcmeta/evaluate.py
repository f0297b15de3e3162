"""Measures archetypes on tasks: NLL in nats per decision, accuracy, and their spread over characters."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from npcmeta.types import Examples, Head, Learner, NamedTasks, Params, Task

CHUNK = 16
"""Tasks adapted at a time: enough for large products, few enough to stay in the cache."""


class Scores(NamedTuple):
    """How one learner did, task by task; each [T]."""

    nll: Tensor  # nats per decision
    accuracy: Tensor  # share of branches decided as the character did; NaN without branches
    error: Tensor  # mean squared error of the most likely continuous action, as scaled; NaN without them
    known: Tensor  # share of the doubt about the character that is gone, 0 to 1; NaN where the learner cannot say


def evaluate(learner: Learner, meta: Params, noise: Tensor, task: Task, *, adapted: bool = True) -> Scores:
    """Adapts to every support set and judges on its query set; with `adapted` False, judges the state of `begin`."""
    chunks = []
    with torch.no_grad():
        for rows in torch.arange(task.support.weight.shape[0]).split(CHUNK):
            part = take_tasks(task, rows)
            state = learner.begin(meta, len(rows), noise[rows])
            state = learner.update(meta, state, part.support) if adapted else state
            scores = judge(learner.head, learner.predict(meta, state, part.query.observation), part.query)
            chunks.append(scores._replace(known=state["known"].squeeze(-1)) if "known" in state else scores)
    return Scores(*(torch.cat(column) for column in zip(*chunks, strict=True)))


def judge(head: Head, params: Tensor, query: Examples) -> Scores:
    """Scores head parameters [T, Q, P] against what the characters did."""
    nll = head.nll(params, query.action, query.action_mask)
    best = head.mode(params, query.action_mask)
    right = (best.discrete == query.action.discrete).float().mean(-1)
    missed = (best.continuous - query.action.continuous).square().mean(-1)
    unsaid = torch.full_like(nll, math.nan)
    return Scores(*(weighted_mean(value, query.weight) for value in (nll, right, missed, unsaid)))


def support_nll(learner: Learner, meta: Params, state: Params, examples: Examples) -> Tensor:
    """Weighted mean NLL of each task's examples [T] under a state, in nats per decision; 0 without examples."""
    params = learner.predict(meta, state, examples.observation)
    return weighted_mean(learner.head.nll(params, examples.action, examples.action_mask), examples.weight)


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean over the examples of each task, [T, n] to [T]."""
    return (values * weight).sum(-1) / weight.sum(-1).clamp_min(1e-12)


def take_tasks(task: Task, rows: Tensor) -> Task:
    """The tasks of the given rows."""
    return Task(take_examples(task.support, rows), take_examples(task.query, rows))


def take_examples(examples: Examples, rows: Tensor | slice) -> Examples:
    """The examples of the tasks of the given rows."""
    return examples.map(lambda part: part[rows])


def take_steps(examples: Examples, count: int) -> Examples:
    """The first `count` examples of every task."""
    return examples.map(lambda part: part[:, :count])


def first_shots(named: NamedTasks, shots: int) -> NamedTasks:
    """The tasks with the first `shots` of their support examples; none, if they have fewer."""
    ids, task = named
    if shots > task.support.weight.shape[1]:
        ids, task = (), take_tasks(task, torch.arange(0))
    return NamedTasks(ids, Task(take_steps(task.support, shots), task.query))


def row(
    archetype: str, learner: str, shots: int, tasks: NamedTasks, scores: Scores, unit: float = 1.0
) -> dict[str, Any]:
    """One row of the table that `npcmeta evaluate` writes, as JSON values.

    `unit` is what a continuous action of 1 stands for in the family's own units, which are those of the squared error.
    """
    spread = float(scores.nll.std()) if len(scores.nll) > 1 else math.nan
    return {
        "archetype": archetype,
        "learner": learner,
        "shots": shots,
        "tasks": len(tasks.ids),
        "nll": float(scores.nll.mean()),
        "accuracy": _number(scores.accuracy.mean()),
        "mse": _number(scores.error.mean() * unit**2),
        "nll_ci95": _number(1.96 * spread / math.sqrt(len(scores.nll))),
        "known": _number(scores.known.mean()),
        "per_task": dict(zip(tasks.ids, scores.nll.tolist(), strict=True)),
    }


def _number(value: Tensor | float) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
