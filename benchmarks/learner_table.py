"""Every learner on every family: how well it adapts, and what it costs to train, to adapt, to keep and to act.

OMP_NUM_THREADS=1 python -m benchmarks.learner_table --out DIR [--families arena,overcooked,character]
    [--learners bayes,maml] [--minutes 1.0 | --meta-steps N] [--split 0] [--seed 0] [--write-docs docs/learners.md]

An interrupted run goes on where it was: finished cells and a checkpoint of the one in training are kept in DIR.
Everything runs in one process on one thread, and all times are processor time, so that other work on the machine shows
little. With --minutes everybody trains for as long, with --meta-steps for as many steps, whatever they cost.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.learner_cells import NPCS, SHOTS, Budget, Row, measure
from npcmeta import __version__
from npcmeta.learners import LEARNERS
from npcmeta_server.report import generated

COMMAND = "benchmarks/learner_table.py"


def columns(family: str) -> list[str]:
    """Titles of the columns of a family's table."""
    shots = [f"NLL {shots} shots" for shots in SHOTS[family]]
    return ["learner", *shots, "adapt ms", "bytes an NPC", "act µs", "adapt graph", "train min", "steps"]


def texts(row: Row, best: dict[str, float]) -> list[str]:
    """A row as it is shown; the lowest NLL of each column between asterisks."""
    nlls = [
        f"**{found['nll']:.3f}**" if found["nll"] == best[shots] else f"{found['nll']:.3f}"
        for shots, found in row["shots"].items()
    ]
    graph = "yes" if row["adapt_graph"] == "yes" else "no"
    return [
        row["learner"], *nlls, f"{row['adapt_milliseconds']:.2f}", f"{row['bytes_per_npc']:,}",
        f"{row['act_microseconds']:.1f}", graph, f"{row['training_minutes']:.2f}", f"{row['meta_steps']:,}",
    ]  # fmt: skip


def tabulate(rows: list[Row]) -> Iterator[tuple[str, list[list[str]], list[str]]]:
    """Of each family: its name, the texts of its rows, and what has to be said below them."""
    for family in dict.fromkeys(row["family"] for row in rows):
        here = [row for row in rows if row["family"] == family]
        shown = [row for row in here if not row["refused"]]
        best = {str(k): min((row["shots"][str(k)]["nll"] for row in shown), default=0.0) for k in SHOTS[family]}
        notes = [f"`{row['learner']}` is left out: {row['refused']}" for row in here if row["refused"]]
        notes += [
            f"`{row['learner']}`, adapt graph: {row['adapt_graph']}" for row in shown if row["adapt_graph"] != "yes"
        ]
        yield family, [texts(row, best) for row in shown], notes


def markdown(rows: list[Row]) -> str:
    """The tables as Markdown: a heading and a table for each family, and a list of what is missing and why."""
    parts = []
    for family, lines, notes in tabulate(rows):
        titles = columns(family)
        table = [titles, ["---", *["---:"] * (len(titles) - 1)], *lines]
        parts.append(f"### {family}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in table))
        parts += ["\n".join(f"- {note}" for note in notes)] if notes else []
    return "\n\n".join(parts)


def draw_tables(rows: list[Row]) -> Iterator[Table | str]:
    """The tables for a terminal, each followed by its notes."""
    for family, lines, notes in tabulate(rows):
        table = Table(title=family, box=box.SIMPLE, padding=0, show_edge=False)
        for index, title in enumerate(columns(family)):  # titles wrap, numbers do not: it fits 80 columns
            table.add_column(title, min_width=max((len(line[index].strip("*")) for line in lines), default=1))
        for line in lines:
            table.add_row(*(f"[bold]{text.strip('*')}[/]" if text.startswith("**") else text for text in line))
        yield table
        yield from notes


def chosen(text: str, known: list[str], what: str) -> list[str]:
    """Names separated by commas; raises ValueError if one is not known."""
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no {what} is called {', '.join(unknown)}; expected some of: {', '.join(known)}")
    return names


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for results and checkpoints")
    parser.add_argument("--families", default="arena,overcooked,character", help="task families, separated by commas")
    parser.add_argument("--learners", default=",".join(LEARNERS), help="learners, separated by commas; all by default")
    parser.add_argument(
        "--minutes", type=float, default=1.0, help="processor time to train each learner on each family"
    )
    parser.add_argument("--meta-steps", type=int, help="outer steps of each training, instead of a time")
    parser.add_argument("--split", type=int, default=0, help="which tasks are held out")
    parser.add_argument("--seed", type=int, default=0, help="fixes the weights drawn and the tasks trained on")
    parser.add_argument("--write-docs", type=Path, metavar="PAGE", help="page whose generated part is replaced")
    return parser.parse_args()


def main() -> None:
    options = read_options()
    torch.set_num_threads(1)
    families = chosen(options.families, list(SHOTS), "family")
    cells = [(family, name) for family in families for name in chosen(options.learners, list(LEARNERS), "learner")]
    if options.write_docs:
        generated.around(options.write_docs, COMMAND)  # better now than after hours of training
    budget = Budget(options.minutes, options.meta_steps, options.split, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as progress:
        bar = progress.add_task("starting", total=len(cells))
        for done, (family, name) in enumerate(cells):

            def tell(what: str, share: float, done: int = done, title: str = f"{family}, {name}") -> None:
                progress.update(bar, description=f"{title}: {what}", completed=done + 0.9 * share)

            rows.append(measure(family, name, budget, options.out, tell))
        progress.update(bar, description="done", completed=len(cells))
    facts = {"npcmeta": __version__, "torch": torch.__version__, "npcs_acting": NPCS}
    (options.out / "table.json").write_text(json.dumps(facts | {"rows": rows}, indent=1))
    for part in draw_tables(rows):
        Console().print(part)
    if options.write_docs:
        generated.write(options.write_docs, COMMAND, markdown(rows))


if __name__ == "__main__":
    main()
