"""Pictures of the arena and of adapting: trajectories, k-shot bars, progress of the inner loop, frame times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from npcmeta.tasks.arena.play import Trajectory
from npcmeta.tasks.arena.state import ATTACK, BLOCK, CALL, INTERACT

MARKS = {ATTACK: ("x", "#c0392b", "attack"), BLOCK: ("s", "#2471a3", "block"),
         CALL: ("^", "#8e44ad", "call"), INTERACT: ("o", "#1e8449", "interact")}  # fmt: skip


def draw_trajectories(rows: Mapping[str, Sequence[tuple[str, Trajectory]]]) -> Figure:
    """A row of arenas for each character, a column for each way it was played; the same arena throughout a row."""
    columns = max(len(played) for played in rows.values())
    figure, axes = pyplot.subplots(len(rows), columns, figsize=(3.1 * columns, 3.35 * len(rows)), squeeze=False)
    for line, (character, played) in zip(axes, rows.items(), strict=True):
        for axis, (title, trajectory) in zip(line, played, strict=True):
            draw_trajectory(axis, trajectory)
            axis.set_title(title, fontsize=10)
        line[0].set_ylabel(character, fontsize=10)
    handles, labels = _legend(axes[0][0])
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    return figure


def draw_trajectory(axis: Axes, trajectory: Trajectory) -> None:
    """One arena from above: the NPC's path from light to dark, what it did where, the post, cover and the others."""
    for x, y in trajectory.covers:
        axis.add_patch(Circle((x, y), trajectory.cover_radius, color="0.82", zorder=0))
    for threat in range(trajectory.threats.shape[1]):
        here = trajectory.threat_present[:, threat]
        axis.plot(*np.where(here[:, None], trajectory.threats[:, threat], np.nan).T, color="#e6b0aa", lw=1, zorder=1)
    axis.plot(*trajectory.player.T, color="#a9cce3", lw=1, zorder=1)
    axis.plot(*trajectory.post, marker="*", color="#f1c40f", markersize=15, markeredgecolor="0.4", zorder=2)
    shade = np.linspace(0.75, 0.05, len(trajectory.npc))
    axis.scatter(trajectory.npc[:, 0], trajectory.npc[:, 1], c=shade, cmap="gray", vmin=0, vmax=1, s=4, zorder=3)
    for choice, (marker, color, _) in MARKS.items():
        there = trajectory.npc[trajectory.choice == choice]
        axis.scatter(there[:, 0], there[:, 1], marker=marker, color=color, s=20, lw=1, zorder=4)
    axis.set(xlim=(-trajectory.half_size, trajectory.half_size), ylim=(-trajectory.half_size, trajectory.half_size))
    axis.set_aspect("equal")
    axis.set_xticks([])
    axis.set_yticks([])


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
            axis.plot(positions, values, marker="o", label=method)
        axis.set_xticks(list(positions), [str(count) for count in demonstrations])
        axis.set_xlabel("demonstrations of 5 seconds")
        axis.set_title(measure, fontsize=11)
        axis.spines[["top", "right"]].set_visible(False)
    for label, value in lines.items():
        axes[0][0].axhline(value, color="0.5", linestyle="--", lw=1)
        axes[0][0].text(0, value, f" {label}", va="bottom", color="0.4", fontsize=9)
    axes[0][0].legend(frameon=False)
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


def _legend(axis: Axes) -> tuple[list[Artist], list[str]]:
    handles: list[Artist] = [axis.plot([], [], marker, color=color)[0] for marker, color, _ in MARKS.values()]
    lines = [("#e6b0aa", "threats"), ("#a9cce3", "player")]
    handles += [axis.plot([], [], color=color)[0] for color, _ in lines]
    handles.append(axis.plot([], [], "*", color="#f1c40f", markeredgecolor="0.4", markersize=11)[0])
    return handles, [label for *_, label in MARKS.values()] + [label for _, label in lines] + ["post"]
