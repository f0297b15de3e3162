"""The k-shot curves: quality against the number of examples, archetypes side by side."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import stdev
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes

REFERENCE_STYLE = {"average": ("0.45", "--"), "finetune": ("0.2", ":")}


def draw_curves(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws every measure of the rows of `evaluate` against shots, a line for each contender.

    Characters differ much more than policies do, so the bands around the NLL are 95 % intervals of the difference to
    the average policy, character by character.
    """
    measures = [("nll", "NLL, nats per decision (lower is better)")]
    if any(row["accuracy"] is not None for row in rows):
        measures.append(("accuracy", "accuracy (higher is better)"))
    if any(row["mse"] is not None for row in rows):
        measures.append(("mse", "mean squared error (lower is better)"))
    figure, axes = pyplot.subplots(1, len(measures), figsize=(6.2 * len(measures), 4.4), squeeze=False)
    for axis, (measure, label) in zip(axes[0], measures, strict=True):
        _draw_measure(axis, rows, measure)
        axis.set_ylabel(label)
    axes[0][0].legend(frameon=False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _draw_measure(axis: Axes, rows: list[dict[str, Any]], measure: str) -> None:
    for label, learner in dict.fromkeys((row["archetype"], row["learner"]) for row in rows):
        chosen = [row for row in rows if (row["archetype"], row["learner"]) == (label, learner)]
        shots = [row["shots"] for row in chosen]
        values = [row[measure] for row in chosen]
        color, line = REFERENCE_STYLE.get(learner, (None, "-"))
        name = learner if learner in REFERENCE_STYLE else f"{label} ({learner})"
        drawn = axis.plot(shots, values, line, color=color, marker="o", markersize=4, label=name)
        if measure == "nll" and learner != "average":
            margin = [margin_to_average(row, rows) for row in chosen]
            low = [v - m for v, m in zip(values, margin, strict=True)]
            high = [v + m for v, m in zip(values, margin, strict=True)]
            axis.fill_between(shots, low, high, color=drawn[0].get_color(), alpha=0.1, linewidth=0)
    axis.set_xscale("symlog", linthresh=5)
    ticks = sorted({row["shots"] for row in rows})
    axis.set_xticks(ticks, [str(k) for k in ticks])
    axis.minorticks_off()
    axis.set_xlabel("shots: examples of the character")
    axis.spines[["top", "right"]].set_visible(False)


def margin_to_average(row: dict[str, Any], rows: list[dict[str, Any]]) -> float:
    """Half the 95 % interval of a row's NLL less that of the average policy, paired by character."""
    average = next((r for r in rows if r["learner"] == "average" and r["shots"] == row["shots"]), row)
    differences = [nll - average["per_task"][task] for task, nll in row["per_task"].items()]
    return 1.96 * stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
