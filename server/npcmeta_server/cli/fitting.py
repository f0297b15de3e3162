"""Runs trainings side by side, each in a process with one torch thread, and shows their progress."""

from __future__ import annotations

import multiprocessing
import os
import queue
import time
import traceback
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Generator

from npcmeta import tasks, training
from npcmeta.archetype import Archetype, save_archetype
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


class Report(NamedTuple):
    """What a training process says: one of the last four is set."""

    job: int
    outcome: Outcome | None = None
    stage: str = ""
    failure: str = ""
    finished: tuple[str, ...] | None = None  # notes on the data


def fit(jobs: list[Job], console: Console) -> list[str]:
    """Runs the jobs at the same time; returns notes on their data, each once.

    Raises:
        ValueError: If a training failed; the message is its own.
    """
    context = multiprocessing.get_context("spawn")
    reports: Queue[Report] = context.Queue()
    processes = [context.Process(target=_work, args=(i, job, reports), daemon=True) for i, job in enumerate(jobs)]
    for process in processes:
        process.start()
    try:
        return _watch(jobs, list(processes), reports, console)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _watch(jobs: list[Job], processes: list[BaseProcess], reports: Queue[Report], console: Console) -> list[str]:
    notes: dict[str, None] = {}
    waiting = set(range(len(jobs)))
    with _progress(console) as progress:
        bars = [progress.add_task(job.draft.name, total=1.0, state="starting") for job in jobs]
        while waiting:
            report = _next(reports, processes, waiting)
            _show(progress, bars[report.job], report)
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


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
        console=console,
    )


def _show(progress: Progress, bar: TaskID, report: Report) -> None:
    if report.outcome is not None:
        o = report.outcome
        state = f"loss {o.loss:7.3f}  held-out NLL {o.best:7.3f}  {o.tasks_per_second:5.0f} tasks/s"
        progress.update(bar, completed=o.fraction, state=state)
    elif report.finished is not None:
        progress.update(bar, completed=1.0)
    elif report.stage:
        progress.update(bar, state=report.stage)


def _work(index: int, job: Job, reports: Queue[Report]) -> None:
    """Body of a training process."""
    torch.set_num_threads(1)
    try:
        notes = _train(index, job, reports)
        reports.put(Report(index, finished=notes))
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        if os.environ.get("NPCMETA_TRACEBACK"):
            traceback.print_exc()
        reports.put(Report(index, failure=str(error)))


def _train(index: int, job: Job, reports: Queue[Report]) -> tuple[str, ...]:
    reports.put(Report(index, stage="preparing tasks"))
    splits = tasks.load_splits(job.draft.family, job.data, job.split)
    generator = Generator().manual_seed(job.seed + 1)
    normaliser = training.measure_normaliser(splits.train, generator, job.outer.max_shots)
    described = {"split": splits.summary} | {"seed": job.split}
    draft = job.draft._replace(spec=splits.train.spec, normaliser=normaliser, split=described)
    last = 0.0

    def watch(outcome: Outcome) -> None:
        nonlocal last
        if time.monotonic() - last > SECONDS_BETWEEN_REPORTS or outcome.validation is not None:
            reports.put(Report(index, outcome=outcome))
            last = time.monotonic()

    checkpoint = job.path.with_suffix(".checkpoint")
    save_archetype(training.train(draft, splits, job.outer, job.seed, checkpoint, watch), job.path)
    return tuple(splits.summary.get("notes", ()))
