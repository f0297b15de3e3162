"""What `npcmeta evaluate` shows: a table of each measure, a line for each contender, a column for each K."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from npcmeta_server.cli.telling import WIDE


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """Prints the rows; no number is cut: in a narrow terminal the names are folded, elsewhere tables are wide."""
    for measured in tables(rows):
        console.print(measured, width=None if console.is_terminal else WIDE)


def tables(rows: list[dict[str, Any]]) -> list[Table]:
    """A table for the NLL, and one each for accuracy and squared error where there are such."""
    shown = [table(rows, "nll", "NLL, nats per decision", "{:.3f}", min)]
    if any(row["accuracy"] is not None for row in rows):
        shown.append(table(rows, "accuracy", "accuracy, share of decisions", "{:.3f}", max))
    if any(row["mse"] is not None for row in rows):
        shown.append(table(rows, "mse", "mean squared error", "{:.4f}", min))
    sure = [row for row in rows if row["known"] is not None]
    if any(row["shots"] for row in sure):
        shown.append(table(sure, "known", "how well known, by the learner's own account", "{:.2f}", max))
    return shown


def table(
    rows: list[dict[str, Any]], measure: str, title: str, form: str, choose: Callable[[Iterable[float]], float]
) -> Table:
    """One measure of every contender at every number of shots; the best ones are bold."""
    shots = sorted({row["shots"] for row in rows})
    tasks_at = {row["shots"]: row["tasks"] for row in rows}
    best = {k: choose(row[measure] for row in rows if row["shots"] == k) for k in shots}
    everybody = max(tasks_at.values())
    shown = Table(title=f"{title} ({counted(everybody)})")
    shown.add_column("archetype", overflow="fold")
    shown.add_column("learner")
    for k in shots:
        shown.add_column(f"{k}" if tasks_at[k] == everybody else f"{k}\n({tasks_at[k]})", justify="right", no_wrap=True)
    for label, learner in dict.fromkeys((row["archetype"], row["learner"]) for row in rows):
        values = {r["shots"]: r[measure] for r in rows if (r["archetype"], r["learner"]) == (label, learner)}
        cells = (_cell(values.get(k), best[k], form) for k in shots)
        shown.add_row(label, learner, *cells)
    return shown


def _cell(value: float | None, best: float, form: str) -> str:
    if value is None:
        return "-"
    return f"[bold]{form.format(value)}[/]" if value == best else form.format(value)


def counted(characters: int) -> str:
    """So many characters, in words."""
    return f"{characters} character{'s' * (characters != 1)}"
