"""The serving benchmark as a whole: measured, shown, drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from npcmeta_server.cli.bench.serving import figures, measuring
from npcmeta_server.cli.bench.serving.world import Work

WORK = Work()


def bench(console: Console, rounds: int, json: Path | None) -> dict[str, Any]:
    """Measures, shows tables, draws a picture beside the JSON file, and returns the figures as JSON values.

    Raises:
        ValueError: If this is not Linux.
    """
    values = figures.figures(measuring.measure(WORK, rounds, console), WORK)
    for table in figures.tables(values):
        console.print(table)
    console.print(f"dropped or wrong frames: {values['dropped_frames']}; bytes of an NPC: {values['bytes_per_npc']:,}")
    if json is not None:
        from npcmeta_server.report import serving

        serving.draw(values["rows"], json.with_suffix(".png"))
        console.print(f"picture: {json.with_suffix('.png')}", highlight=False)
    return values
