"""How long a frame takes: servers side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot


def draw(rows_of: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draws the rows of `bench serving`: a bar for the median of each server, a line up to its slowest in a hundred.

    Args:
        rows_of: Family -> its rows; each family gets a line of axes, each number of NPCs a column.
        path: Of the picture.
    """
    frames = {family: [row for row in rows if row["kind"] == "frame"] for family, rows in rows_of.items()}
    sizes = sorted({row["npcs"] for rows in frames.values() for row in rows})
    inches = (5.2 * len(sizes), 2.9 * len(frames))
    figure, axes = pyplot.subplots(len(frames), len(sizes), figsize=inches, squeeze=False, sharex=True)
    for line, (family, rows) in zip(axes, frames.items(), strict=True):
        for axis, size in zip(line, sizes, strict=True):
            _draw_bars(axis, [row for row in rows if row["npcs"] == size][::-1])
            axis.set_title(f"{family}: {size} NPCs in a frame")
    for axis in axes[-1]:
        axis.set_xlabel("ms of a frame: median, and up to p99")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _draw_bars(axis: Any, rows: list[dict[str, Any]]) -> None:
    names, medians = [row["server"] for row in rows], [row["p50_ms"] for row in rows]
    axis.barh(names, medians, color=["tab:blue" if name == "npcmeta" else "0.75" for name in names])
    axis.hlines(names, medians, [row["p99_ms"] for row in rows], color="0.2", linewidth=1)
    axis.set_xscale("log")
