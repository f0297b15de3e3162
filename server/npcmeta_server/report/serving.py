"""How long a frame takes: servers side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws the rows of `bench serving`: a bar for the median of each server, a line up to its slowest in a hundred."""
    frames = [row for row in rows if row["kind"] == "frame"]
    sizes = sorted({row["npcs"] for row in frames})
    figure, axes = pyplot.subplots(1, len(sizes), figsize=(5.2 * len(sizes), 3.2), squeeze=False, sharex=True)
    for axis, size in zip(axes[0], sizes, strict=True):
        shown = [row for row in frames if row["npcs"] == size][::-1]
        names, medians = [row["server"] for row in shown], [row["p50_ms"] for row in shown]
        colours = ["tab:blue" if name == "npcmeta" else "0.75" for name in names]
        axis.barh(names, medians, color=colours)
        axis.hlines(names, medians, [row["p99_ms"] for row in shown], color="0.2", linewidth=1)
        axis.set_xscale("log")
        axis.set_xlabel("ms of a frame: median, and up to p99")
        axis.set_title(f"{size} NPCs in a frame")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
