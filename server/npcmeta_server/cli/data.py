"""`npcmeta data inspect`: what is in recorded demonstrations, before anything is trained on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import tyro
from rich import box
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from npcmeta.recordings import inspect
from npcmeta.recordings.demo_records import DemoRecords, read_records
from npcmeta.recordings.folder import Character, Characters, find_characters, read_folder, unusable
from npcmeta.recordings.recording import RecordingError
from npcmeta.tasks import recorded
from npcmeta.types import BehaviorSpec

SHOTS = (10, 20, 50, 100, 200, 500, 1000)
MAX_COLUMNS = 32
"""Observations and choices that a table shows one by one."""
NOTE, PROBLEM = "[yellow]note:[/]", "[red]problem:[/]"


class Demo(NamedTuple):
    """A .demo file of a character, as far as only the file itself shows it."""

    path: Path
    records: DemoRecords
    zeros: inspect.ZeroSignature


def data(
    action: Annotated[Literal["inspect"], tyro.conf.Positional], path: Annotated[Path, tyro.conf.Positional]
) -> int:
    """Say what is in recorded demonstrations: sizes, episodes, rewards, actions, and what may be wrong.

    The exit status is 0 if nothing that is said is a problem; notes are none.

    Args:
        action: What to do: inspect.
        path: A .demo or .npz file, or a folder of them with a sub-folder for each character.
    """
    console = Console(highlight=False)
    found = _read(path)
    groups, _ = find_characters(path)
    demos = {name: [_demo(file) for file in files if file.suffix == ".demo"] for name, files in groups}
    others = sum(file.suffix != ".demo" for _, files in groups for file in files)
    failed = False
    for part in report(path, found, demos, others):
        console.print(part, soft_wrap=isinstance(part, str))
        failed = failed or (isinstance(part, str) and part.startswith(PROBLEM))
    return int(failed)


def _read(path: Path) -> Characters:
    """Reads the recordings; where files cannot be used, the error names all of them."""
    try:
        return read_folder(path)
    except RecordingError as error:
        found = unusable(path)
        if len(found) < 2:
            raise
        lines = "".join(f"\n  {line}" for line in found)
        raise RecordingError(f"{len(found)} recordings cannot be used:{lines}") from error


def report(path: Path, found: Characters, demos: dict[str, list[Demo]], others: int) -> Iterator[RenderableType]:
    """Everything that is said of the recordings at a path, in reading order; `others` are files that are no .demo."""
    files = [demo for group in demos.values() for demo in group]
    everybody = inspect.summarise([member.recording for member in found.members])
    yield overview(path, found.spec, everybody, len(found.members))
    if path.is_dir():
        yield characters(found.members, demos)
    else:
        yield from (header(demo) for demo in files)
    if others:
        yield "actions in .npz files: as they stand, each beside the observation that it answered"
    if files:
        yield from _alignment(files)
    if everybody.branches:
        yield choices(everybody)
    if len(everybody.continuous.mean):
        yield ranges("continuous action", everybody.continuous)
    yield ranges("observation", everybody.observations)
    yield from _tasks(found)
    for note in (*found.notes, *inspect.remarks(everybody)):
        yield f"{NOTE} {escape(note)}"
    for problem in inspect.problems(everybody):
        yield f"{PROBLEM} {escape(problem)}"


def _lengths(steps: Sequence[int]) -> str:
    shortest, longest = min(steps), max(steps)
    return f"{longest:,} steps" if shortest == longest else f"{shortest:,} to {longest:,} steps"


def overview(path: Path, spec: BehaviorSpec, summary: inspect.Summary, members: int) -> Table:
    """The behavior spec, and how much there is."""
    minutes = summary.steps / spec.tick_rate_hz / 60
    branches = " + ".join(map(str, spec.action.branch_sizes)) or "none"
    return _pairs(
        str(path),
        {
            "characters": str(members),
            "observations": str(spec.observation_size),
            "continuous actions": str(spec.action.continuous_size),
            "discrete branches": f"{branches} choices" if spec.action.branch_sizes else branches,
            "tick rate": f"{spec.tick_rate_hz:g} Hz",
            "steps": f"{summary.steps:,} ({minutes:.1f} minutes)",
            "episodes": f"{len(summary.episode_lengths)} of {_lengths(summary.episode_lengths)}",
            "reward per episode": f"{summary.reward_per_episode:.3f}",
        },
    )


def characters(members: Iterable[Character], demos: dict[str, list[Demo]]) -> Table:
    """One line for each character."""
    table = Table("character", box=box.SIMPLE_HEAD)
    for heading in ("steps", "episodes", "reward per episode", "begin with zeros"):
        table.add_column(heading, justify="right")
    for member in members:
        own = inspect.summarise([member.recording])
        zeros = [demo.zeros for demo in demos.get(member.id, [])]
        begun = f"{sum(z.zeros for z in zeros)} of {sum(z.episodes for z in zeros)}" if zeros else "-"
        reward = f"{own.reward_per_episode:.3f}"
        table.add_row(escape(member.id), f"{own.steps:,}", str(len(own.episode_lengths)), reward, begun)
    return table


def header(demo: Demo) -> Table:
    """What a .demo file says of itself, beside what is in it."""
    h, records = demo.records.header, demo.records
    done = int(records.done.sum())
    unfinished = "" if records.done[-1] else ", and one that was not finished"
    return _pairs(
        "file header",
        {
            "format": f"Unity ML-Agents demonstration, version {h.version}",
            "demonstration": repr(h.name),
            "brain": repr(h.brain),
            "sensors": " + ".join(map(str, records.sensor_sizes)) + " numbers",
            "records": f"{h.steps:,}",
            "episodes": f"{h.episodes} in the header (Unity counts one too many), {done} done flags{unfinished}",
            "mean reward": f"{h.mean_reward:.3f} in the header",
        },
    )


def choices(summary: inspect.Summary) -> Table:
    """How often every choice was taken, and how often it was allowed."""
    table = Table("branch", "choice", box=box.SIMPLE_HEAD)
    for heading in ("taken", "allowed"):
        table.add_column(heading, justify="right")
    for index, branch in enumerate(summary.branches):
        for choice in range(min(len(branch.taken), MAX_COLUMNS)):
            table.add_row(str(index), str(choice), *(f"{100 * share[choice]:.1f} %" for share in branch))
        if len(branch.taken) > MAX_COLUMNS:
            table.add_row(str(index), f"and {len(branch.taken) - MAX_COLUMNS} more")
    return table


def ranges(what: str, columns: inspect.Ranges) -> Table:
    """Mean, deviation and range of the first columns."""
    table = Table(what, box=box.SIMPLE_HEAD)
    for heading in ("mean", "std", "least", "greatest"):
        table.add_column(heading, justify="right")
    for index in range(min(len(columns.mean), MAX_COLUMNS)):
        constant = " (never changes)" if columns.low[index] == columns.high[index] else ""
        table.add_row(f"{index}{constant}", *numbers(float(value[index]) for value in columns[:4]))
    if len(columns.mean) > MAX_COLUMNS:
        table.add_row(f"and {len(columns.mean) - MAX_COLUMNS} more")
    return table


def numbers(values: Iterable[float]) -> list[str]:
    """With three decimals; with three digits, if all are so small or so large that decimals say nothing."""
    values = list(values)
    form = ".3f" if max(map(abs, values)) == 0 or 0.1 <= max(map(abs, values)) < 1e6 else ".3g"
    return [f"{value:{form}}" for value in values]


def _alignment(demos: Sequence[Demo]) -> Iterator[str]:
    """Which action stands beside which observation."""
    yield "actions in .demo files: taken from the record after the observation, where Unity puts the answer to it"
    total, zeros = sum(d.zeros.episodes for d in demos), sum(d.zeros.zeros for d in demos)
    often = sum(d.zeros.elsewhere for d in demos) / len(demos)
    yield f"zero signature: {zeros} of {total} episodes begin with zeros; {100 * often:.1f} % of the other actions are"
    for demo in demos:
        if not demo.zeros.present:
            yield (
                f"{PROBLEM} {escape(str(demo.path))}: only {demo.zeros.zeros} of {demo.zeros.episodes} episodes "
                "begin with zeros: if Unity's own recorder did not write it, its actions may be one step off here"
            )


def _tasks(found: Characters) -> Iterator[str]:
    """What training and evaluating would make of the recordings."""
    try:
        tasks = recorded.as_tasks(found)
    except RecordingError as error:
        yield f"{PROBLEM} not enough to train on or evaluate: {escape(str(error))}"
        return
    kind = "segments" if tasks.segmented else "characters"
    lengths = [member.recording.steps for member in tasks.members]
    counts = inspect.evaluable([member.recording.steps for member in found.members], SHOTS)
    shots = ", ".join(f"{count} for {k} shots" for k, count in counts.items() if count) or "none"
    yield f"tasks of training: {len(lengths)} {kind} of {_lengths(lengths)}"
    yield f"characters that can be evaluated (K shots need 2K steps): {shots}"
    for note in tasks.notes[len(found.notes) :]:
        yield f"{NOTE} {escape(note)}"


def _demo(path: Path) -> Demo:
    records = read_records(path)
    return Demo(path, records, inspect.zero_signature(records))


def _pairs(title: str, values: dict[str, str]) -> Table:
    table = Table(title=escape(title), title_justify="left", show_header=False, box=box.SIMPLE)
    for key, value in values.items():
        table.add_row(key, escape(value))
    return table
