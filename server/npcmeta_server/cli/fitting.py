"""Runs trainings side by side, each in a process with one torch thread, and shows their progress."""

from __future__ import annotations

import math
import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Generator

from npcmeta import tasks, training
from npcmeta.archetype import Archetype, ArchetypeFileError, load_archetype, revision_of, save_archetype
from npcmeta.outer_loop import Outcome, OuterSettings

SECONDS_BETWEEN_REPORTS = 0.2


class Job(NamedTuple):
    """One training: an archetype without its spec, normaliser, split and weights, and where it is to be written."""

    draft: Archetype
    data: Path | None
    split: int
    seed: int
    outer: OuterSettings
    path: Path

    @property
    def checkpoint(self) -> Path:
        """Where it is written while it goes on."""
        return self.path.with_suffix(".checkpoint")


class Report(NamedTuple):
    """What a training process says: one of the others is set."""

    job: int
    outcome: Outcome | None = None
    stage: str = ""
    failure: str = ""
    finished: tuple[str, ...] | None = None  # notes on the data
    resumed: float | None = None  # the fraction of its budget at which it goes on


def fit(jobs: list[Job], console: Console) -> list[str]:
    """Runs the jobs at the same time; returns notes on their data, each once.

    The checkpoint of one that is finished stays until all of them are: an interrupt before that costs nothing.

    Raises:
        ValueError: If a training failed; the message is its own.
    """
    context = multiprocessing.get_context("spawn")
    reports: Queue[Report] = context.Queue()
    processes = [context.Process(target=_work, args=(i, job, reports), daemon=True) for i, job in enumerate(jobs)]
    for process in processes:
        process.start()
    try:
        notes = _watch(jobs, list(processes), reports, console)
    finally:
        _stop(list(processes))
    for job in jobs:
        job.checkpoint.unlink(missing_ok=True)
    return notes


def _stop(processes: list[BaseProcess]) -> None:
    """Lets processes end their outer step and write a checkpoint; a second interrupt ends them at once."""
    for process in processes:
        process.terminate()
    try:
        for process in processes:
            process.join()
    except KeyboardInterrupt:
        for process in processes:
            process.kill()
        raise


def _watch(jobs: list[Job], processes: list[BaseProcess], reports: Queue[Report], console: Console) -> list[str]:
    notes: dict[str, None] = {}
    waiting = set(range(len(jobs)))
    with Shown([job.path.stem for job in jobs], console) as shown:
        while waiting:
            report = _next(reports, processes, waiting)
            shown.update(report)
            if report.failure:
                raise ValueError(report.failure)
            if report.finished is not None:
                waiting.discard(report.job)
                notes |= dict.fromkeys(report.finished)
    return list(notes)


def _next(reports: Queue[Report], processes: list[BaseProcess], waiting: set[int]) -> Report:
    while True:
        try:
            return reports.get(timeout=1.0)
        except queue.Empty:
            for index in waiting:
                if processes[index].exitcode not in (None, 0):
                    code = processes[index].exitcode
                    return Report(index, failure=f"a training process ended with code {code} before it was done")


class Shown:
    """What there is to see of trainings: bars in a terminal, elsewhere a line at each tenth of the way."""

    def __init__(self, names: list[str], console: Console) -> None:
        """`names` are those of the jobs, in their order."""
        self._names, self._console, self._tenths = names, console, [-1] * len(names)
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=12),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        self._bars = [self._progress.add_task(name, total=1.0, state="starting") for name in names]

    def __enter__(self) -> Shown:
        """Starts drawing."""
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Leaves the bars as they are."""
        self._progress.stop()

    def update(self, report: Report) -> None:
        """Shows what a training process said."""
        if report.resumed is not None:
            self._console.print(f"{self._names[report.job]}: goes on at {100 * report.resumed:.0f} %", highlight=False)
            return
        fraction, state = 0.0, report.stage or report.failure
        if report.finished is not None:
            fraction, state = 1.0, "done"
        elif report.outcome is not None:
            fraction, state = report.outcome.fraction, describe(report.outcome)
        if not self._console.is_terminal:
            self._line(report.job, fraction, state)
        elif report.finished is not None:
            self._progress.update(self._bars[report.job], completed=1.0)
        else:
            self._progress.update(self._bars[report.job], completed=fraction, state=state)

    def _line(self, job: int, fraction: float, state: str) -> None:
        tenth = int(10 * fraction + 1e-9)
        if tenth > self._tenths[job] and not (tenth == 10 and state != "done"):
            self._tenths[job] = tenth
            self._console.print(f"{self._names[job]}: {10 * tenth} %  {state}", highlight=False)


def describe(outcome: Outcome) -> str:
    """How a training stands, in few enough letters for a narrow terminal."""
    best = f"{outcome.best:.3f}" if math.isfinite(outcome.best) else "-"
    return f"loss {outcome.loss:.3f}  held-out {best}  {outcome.tasks_per_second:.0f} tasks/s"


def _work(index: int, job: Job, reports: Queue[Report]) -> None:
    """Body of a training process. An interrupt from the keyboard is left to its parent, which then ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    try:
        notes = _train(index, job, reports)
        reports.put(Report(index, finished=notes))
    except training.Stopped:
        reports.cancel_join_thread()  # nobody reads them any more
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        if os.environ.get("NPCMETA_TRACEBACK"):
            traceback.print_exc()
        reports.put(Report(index, failure=str(error)))


def _train(index: int, job: Job, reports: Queue[Report]) -> tuple[str, ...]:
    reports.put(Report(index, stage="preparing tasks"))
    splits = tasks.load_splits(job.draft.family, job.data, job.split)
    generator = Generator().manual_seed(job.seed + 1)
    normaliser = training.measure_normaliser(splits.train, generator, job.outer.max_shots)
    described = training.describe_split(splits, job.split)
    draft = job.draft._replace(spec=splits.train.spec, normaliser=normaliser, split=described)
    going_on, last = job.checkpoint.exists(), 0.0
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())

    def watch(outcome: Outcome) -> None:
        nonlocal going_on, last
        _end_with_the_parent()
        if stopping.is_set():
            raise training.Stopped
        if going_on:
            reports.put(Report(index, resumed=outcome.fraction))
            going_on = False
        if time.monotonic() - last > SECONDS_BETWEEN_REPORTS or outcome.validation is not None:
            reports.put(Report(index, outcome=outcome))
            last = time.monotonic()

    trained = training.train(draft, splits, job.outer, job.seed, job.checkpoint, watch)
    if not _holds(job.path, trained):
        save_archetype(trained, job.path)
    return tuple(splits.summary.get("notes", ()))


def _holds(path: Path, trained: Archetype) -> bool:
    """Whether the file is of this training, saved before an interrupt: NPCs may have been made of its revision."""
    try:
        found = load_archetype(path)
    except (ArchetypeFileError, OSError):
        return False
    then = {"trained_at": found.provenance.get("trained_at")}
    return found.revision == revision_of(trained._replace(provenance=trained.provenance | then))


def _end_with_the_parent() -> None:
    """A command that was killed cannot end its processes, and two of them must not write one checkpoint."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit(1)
