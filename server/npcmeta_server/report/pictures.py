"""Pictures of the arena and of adapting: trajectories, k-shot bars, progress of the inner loop, frame times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from npcmeta.tasks.arena.play import Trajectory
from npcmeta.tasks.arena.state import ATTACK, BLOCK, CALL, INTERACT

MARKS = {ATTACK: ("x", "#c0392b", "attack"), BLOCK: ("s", "#2471a3", "block"),
         CALL: ("^", "#8e44ad", "call"), INTERACT: ("o", "#1e8449", "interact")}  # fmt: skip
POST = ("*", "#f1c40f", "the post")
REFERENCE_STYLE = {"average": ("0.45", "--")}


def draw_paths(rows: Mapping[str, Mapping[str, Sequence[Trajectory]]]) -> Figure:
    """A row for each character, a column for each way it was played; the same arenas throughout."""
    columns = max(len(ways) for ways in rows.values())
    figure, axes = pyplot.subplots(len(rows), columns, figsize=(3.1 * columns, 3.2 * len(rows)), squeeze=False)
    for number, (line, (character, ways)) in enumerate(zip(axes, rows.items(), strict=True)):
        for axis, (title, played) in zip(line, ways.items(), strict=True):
            for trajectory in played:
                _draw_path(axis, trajectory)
            reach = max(trajectory.half_size for trajectory in played)
            _frame(axis, reach)
            if number == 0:
                axis.set_title(title, fontsize=10)
            if number == len(rows) - 1:
                axis.set_xlabel(f"{2 * reach:.0f} metres", fontsize=9)
        line[0].set_ylabel(character, fontsize=10)
    marks = (*MARKS.values(), POST)
    handles = [axes[0][0].plot([], [], marker, color=color)[0] for marker, color, _ in marks]
    labels = [label for *_, label in marks]
    figure.legend(handles, labels, loc="lower center", ncols=len(marks), frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    return figure


def _draw_path(axis: Axes, trajectory: Trajectory) -> None:
    """One game from above, the post at the origin: where the NPC went, and what it did there."""
    npc = trajectory.npc - trajectory.post
    axis.plot(npc[:, 0], npc[:, 1], color="0.35", lw=0.8, alpha=0.7, zorder=2)
    for choice, (marker, color, _) in MARKS.items():
        there = npc[trajectory.choice == choice]
        axis.scatter(there[:, 0], there[:, 1], marker=marker, color=color, s=9, lw=0.7, alpha=0.8, zorder=3)


def _frame(axis: Axes, reach: float) -> None:
    marker, color, _ = POST
    axis.plot(0, 0, marker=marker, color=color, markersize=15, markeredgecolor="0.4", zorder=4)
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach))
    axis.set_aspect("equal")
    axis.set_xticks([])
    axis.set_yticks([])


def draw_behaviour(quantities: Sequence[str], rows: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """An axis for each character: every quantity for each way of playing it, in standard deviations."""
    figure, axes = pyplot.subplots(1, len(rows), figsize=(5.6 * len(rows), 4.6), sharey=True, squeeze=False)
    places = np.arange(len(quantities))[::-1]
    styles = (("o", "0.6"), ("o", "#2471a3"), ("D", "0.1"))
    for axis, (character, ways) in zip(axes[0], rows.items(), strict=True):
        values = np.stack(list(ways.values()))
        axis.hlines(places, values.min(0), values.max(0), color="0.88", zorder=1)
        for (title, value), (marker, color) in zip(ways.items(), styles, strict=True):
            axis.plot(value, places, marker, color=color, markersize=5, label=title, zorder=2)
        axis.axvline(0, color="0.85", lw=0.8, zorder=0)
        axis.set(title=character, xlabel="standard deviations from the mean character")
        axis.set_yticks(places, [name.replace("_", " ") for name in quantities], fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].legend(frameon=False, fontsize=8, loc="best")
    figure.tight_layout()
    return figure


def draw_shots(
    demonstrations: Sequence[int], measures: Mapping[str, Mapping[str, Sequence[float]]], lines: Mapping[str, float]
) -> Figure:
    """Curves over numbers of demonstrations, an axis for each measure, a curve for each method.

    Args:
        demonstrations: The numbers of demonstrations.
        measures: measure -> method -> a value for each number of demonstrations.
        lines: Horizontal lines drawn into the first axis, by label.
    """
    figure, axes = pyplot.subplots(1, len(measures), figsize=(5.6 * len(measures), 3.8), squeeze=False)
    positions = range(len(demonstrations))
    for axis, (measure, methods) in zip(axes[0], measures.items(), strict=True):
        for method, values in methods.items():
            color, line = REFERENCE_STYLE.get(method, (None, "-"))
            axis.plot(positions, values, line, color=color, marker="o", label=method)
        axis.set_xticks(list(positions), [str(count) for count in demonstrations])
        axis.set_xlabel("demonstrations")
        axis.set_title(measure, fontsize=11)
        axis.spines[["top", "right"]].set_visible(False)
    for label, value in lines.items():
        axes[0][0].axhline(value, color="0.5", linestyle="--", lw=1)
        axes[0][0].text(0, value, f" {label}", va="bottom", color="0.4", fontsize=9)
    for axis in axes[0]:
        axis.legend(frameon=False)
    figure.tight_layout()
    return figure


def draw_frames(milliseconds: Sequence[float], adapting: Sequence[bool], npcs: int) -> Figure:
    """Round-trip time of every frame; frames during which an NPC was being adapted stand out."""
    figure, axis = pyplot.subplots(figsize=(9, 2.8))
    times, busy = np.asarray(milliseconds), np.asarray(adapting, bool)
    ticks = np.arange(len(times))
    axis.plot(ticks[~busy], times[~busy], ".", color="#2471a3", markersize=4, label="acting")
    axis.plot(ticks[busy], times[busy], ".", color="#c0392b", markersize=5, label="acting while others adapt")
    axis.set(xlabel="frame", ylabel="round trip, ms", title=f"{npcs} different NPCs in every frame, 10 frames a second")
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure
