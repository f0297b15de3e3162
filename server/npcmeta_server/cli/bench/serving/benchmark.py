"""The serving benchmark as a whole: measured, shown, drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from npcmeta_server.cli.bench.serving import figures, measuring
from npcmeta_server.cli.bench.serving.world import Work

WORK = Work()
FAMILIES = ("arena", "recorded")
"""The default learner has two forms: a context, as simulated characters get, and matrices, as recorded people do."""


def bench(console: Console, rounds: int, json: Path | None) -> dict[str, Any]:
    """Measures, shows tables, draws a picture beside the JSON file, and returns the figures as JSON values.

    Those of the first family, the demo's, stand at the top; `families` has all.

    Raises:
        ValueError: If this is not Linux.
    """
    of = {family: _measured(console, rounds, family) for family in FAMILIES}
    if json is not None:
        from npcmeta_server.report import serving

        serving.draw({family: values["rows"] for family, values in of.items()}, json.with_suffix(".png"))
        console.print(f"picture: {json.with_suffix('.png')}", highlight=False)
    return of[FAMILIES[0]] | {"families": of}


def _measured(console: Console, rounds: int, family: str) -> dict[str, Any]:
    console.print(f"[bold]{measuring.LEARNER}[/] as the family [bold]{family}[/] trains it")
    values = figures.figures(measuring.measure(WORK, family, rounds, console), WORK)
    for table in figures.tables(values):
        console.print(table)
    console.print(f"dropped or wrong frames: {values['dropped_frames']}; bytes of an NPC: {values['bytes_per_npc']:,}")
    return values
