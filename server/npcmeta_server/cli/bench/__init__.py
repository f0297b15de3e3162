"""`npcmeta bench`: what this machine does, measured side by side in one run. One module for each benchmark."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from npcmeta_server.cli import results


def bench(
    what: Annotated[Literal["inner-loop", "serving"], tyro.conf.Positional],
    json: Path | None = None,
    repeats: int = 9,
    libraries: bool = True,
) -> None:
    """Measure how fast this machine does it, beside what others do.

    Args:
        what: inner-loop: adapting and predicting, and the outer step of second-order MAML, beside libraries for them.
            serving: frames of different NPCs, and adapting them meanwhile, beside servers that do less.
        json: Where to write the figures.
        repeats: How often each contender is measured; they take turns, and the medians count.
        libraries: Measure libraries that have to be installed as well, with pip install "npcmeta[bench]".
    """
    if not 1 <= repeats <= 10_000:
        raise ValueError(f"--repeats is {repeats}, expected a number from 1 to 10000")
    results.reserve(json)
    console = Console()
    if what == "inner-loop":
        from npcmeta_server.cli.bench import inner_loop

        figures = inner_loop.bench(console, repeats, libraries)
    else:
        from npcmeta_server.cli.bench.serving import benchmark

        figures = benchmark.bench(console, repeats, json)
    if json is not None:
        json.write_text(jsonlib.dumps(figures, indent=1) + "\n")
        console.print(f"figures: {json}", highlight=False, markup=False)
