"""Long runs, each against a server of its own: python -m tests.soak [RUN ...] [--share 1.0] [--seed 0] [--json FILE]"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.soak.runs import RUNS


def main() -> None:
    """Runs what is asked for, and shows what it found; ends with 1 if something did not hold."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description="Long runs against a real server.")
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"all by default: {', '.join(RUNS)}")
    parser.add_argument("--share", type=float, default=1.0, help="of the full length")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    asked = parser.parse_args()
    if unknown := set(asked.runs) - set(RUNS):
        parser.error(f"there is no run {', '.join(sorted(unknown))}; expected some of {', '.join(RUNS)}")
    console, found, failed = Console(), [], False
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as progress:
        for name in asked.runs or RUNS:
            task = progress.add_task(name, total=1.0)
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                try:
                    report = RUNS[name](
                        Path(folder), asked.share, asked.seed, lambda done, t=task: progress.update(t, completed=done)
                    )
                except AssertionError as error:
                    failed = True
                    console.print(f"[red]{name}: {error}[/]")
                    continue
            found.append({"run": name, "seconds": round(time.monotonic() - began), **report.figures})
    for row in found:
        table = Table("figure", "value", title=str(row["run"]))
        for key, value in row.items():
            table.add_row(key.replace("_", " "), f"{value:,}" if isinstance(value, int | float) else str(value))
        console.print(table)
    if asked.json:
        asked.json.write_text(json.dumps({"share": asked.share, "seed": asked.seed, "runs": found}, indent=2))
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
