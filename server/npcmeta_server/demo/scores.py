"""Scores of the demo: NLL of every NPC on what its character did elsewhere, beside average and fine-tuning."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from npcmeta import evaluate
from npcmeta.archetype import Archetype, build_learner, draw_state_noise
from npcmeta.types import Params, Task
from npcmeta_server.demo.cast import DEMONSTRATIONS, Cast
from npcmeta_server.demo.closed_loop import ClosedLoop

BEHIND = 0.06
"""Nats per decision."""


class Baseline(NamedTuple):
    """The average policy, and its fine-tuned states for each number of demonstrations."""

    archetype: Archetype
    states: dict[int, Params]  # 0: the average policy


def fine_tune(baseline: Archetype, cast: Cast) -> Baseline:
    """Fine-tunes the average policy on the same demonstrations that the NPCs saw."""
    learner, rows = build_learner(baseline), range(len(cast.names))
    states = {}
    with torch.no_grad():
        begun = learner.begin(baseline.meta, len(rows), draw_state_noise(learner, rows))
        for count in DEMONSTRATIONS:
            support = evaluate.take_steps(cast.task.support, count * cast.examples)
            updated = learner.update(baseline.meta, begun, support) if count else begun
            states[count] = {key: value.contiguous() for key, value in updated.items()}
    return Baseline(baseline, states)


def query_nll(archetype: Archetype, state: Params, task: Task) -> list[float]:
    """NLL of each character's query set under a row of `state`, in nats per decision."""
    learner = build_learner(archetype)
    with torch.no_grad():
        params = learner.predict(archetype.meta, state, task.query.observation)
        return evaluate.judge(learner.head, params, task.query).nll.tolist()


def character_rows(
    cast: Cast, archetype: Archetype, states: dict[int, Params], baseline: Baseline, loop: ClosedLoop | None
) -> list[dict[str, Any]]:
    """One row for each character and number of demonstrations, as JSON values."""
    rows = []
    average = query_nll(baseline.archetype, baseline.states[0], cast.task)
    for count in DEMONSTRATIONS:
        adapted = query_nll(archetype, states[count], cast.task)
        tuned = query_nll(baseline.archetype, baseline.states[count], cast.task)
        for i, name in enumerate(cast.names):
            rows.append(
                {
                    "name": name,
                    "demonstrations": count,
                    "nll": adapted[i],
                    "nll_average": average[i],
                    "nll_finetune": tuned[i],
                    "gap_closed": loop.gap_closed_each[f"adapted {count}"][i] if loop else None,
                }
            )
    return rows


def summary(loop: ClosedLoop | None) -> dict[str, Any]:
    """gap_closed over all characters by number of demonstrations, and the ceiling; null without a closed loop."""
    if loop is None:
        return {"gap_closed": {str(count): None for count in DEMONSTRATIONS}, "ceiling": None}
    return {
        "gap_closed": {str(count): loop.gap_closed[f"adapted {count}"] for count in DEMONSTRATIONS},
        "gap_closed_finetune": {str(count): loop.gap_closed[f"finetune {count}"] for count in DEMONSTRATIONS if count},
        "ceiling": loop.gap_closed["ceiling"],
    }


def mean(rows: list[dict[str, Any]], key: str, demonstrations: int) -> float:
    """Mean of a column over the characters."""
    values = [row[key] for row in rows if row["demonstrations"] == demonstrations]
    return sum(values) / len(values)


def is_behind(rows: list[dict[str, Any]]) -> bool:
    """Whether the archetype was trained for too short a time: before any example it is far behind the average policy.

    The average policy of the same minutes is ahead of it by some hundredths, as each of its steps takes less time.
    """
    return mean(rows, "nll", 0) > mean(rows, "nll_average", 0) + BEHIND
