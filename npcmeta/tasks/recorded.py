"""Any game's recorded demonstrations as a task family: one character, one timeline, one task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from npcmeta.recordings.folder import Character, Characters, digest, read_folder
from npcmeta.recordings.recording import RecordingError, cut
from npcmeta.tasks.timelines import TimelineFamily
from npcmeta.types import BehaviorSpec, TaskSplits

FEW = 5
"""With fewer characters than this, segments of their timelines are the tasks."""

MIN_STEPS = 4
MIN_SEGMENT, SEGMENT, MAX_SEGMENTS = 100, 250, 20


class Tasks(NamedTuple):
    """Timelines to learn from, and whether each is a whole character or a segment of one."""

    spec: BehaviorSpec
    members: tuple[Character, ...]
    segmented: bool
    notes: tuple[str, ...]


def splits(data: Path, split: int) -> TaskSplits:
    """Splits the characters at `data` into training and validation; there is no test part of their own.

    Who hold the same play count as one, and are on the same side. With few characters, the last fifth of every
    timeline's segments is for validation, whatever the split.

    Raises:
        RecordingError: If a recording cannot be used, or there is too little of them.
    """
    tasks = as_tasks(read_folder(data))
    held = _last_fifth(tasks.members) if tasks.segmented else _drawn_fifth(tasks.members, split)
    parts = {
        "train": [member for member in tasks.members if member.id not in held],
        "validation": [member for member in tasks.members if member.id in held],
    }
    summary = {name: {member.id: member.digest for member in members} for name, members in parts.items()}
    train, validation = (_family(tasks.spec, members) for members in parts.values())
    described = {"split": split, **summary, "segments": tasks.segmented, "notes": list(tasks.notes)}
    return TaskSplits(train, validation, validation, described)


def evaluation_family(data: Path, spec: BehaviorSpec, trained: Mapping[str, str] | None = None) -> TimelineFamily:
    """All characters at `data`, each whole however few there are, to evaluate archetypes on.

    Args:
        data: A folder with a sub-folder for each character, one flat folder, or one file.
        spec: The archetypes' spec, which the recordings have to fit.
        trained: Digests of timelines that an archetype was trained on, and their names.

    Raises:
        RecordingError: If a recording cannot be used, does not fit, or was trained on.
    """
    found = read_folder(data, spec)
    for member in found.members:
        _refuse_trained(member, trained or {})
    check_learnable(found)
    return _family(found.spec, found.members)


def as_tasks(found: Characters) -> Tasks:
    """The characters, or with fewer than five of them contiguous segments of their timelines.

    Raises:
        RecordingError: If nothing can be learned from them; the message says why.
    """
    check_learnable(found)
    distinct = len({member.digest for member in found.members})
    if distinct >= FEW:
        return Tasks(found.spec, found.members, False, found.notes)
    pieces = tuple(piece for member in found.members for piece in segments(member))
    note = (
        f"{distinct} character{'s' * (distinct > 1)} only: segments of their timelines are the "
        "tasks of training, and the last fifth validates; how it generalises to other characters cannot be measured"
    )
    return Tasks(found.spec, pieces, True, (*found.notes, note))


def check_learnable(found: Characters) -> None:
    """Raises RecordingError if there is nothing to decide, or a timeline too short to learn anything from."""
    _check_branches(found.spec)
    for member in found.members:
        if member.recording.steps < MIN_STEPS:
            raise RecordingError(
                f"{member.id} has {member.recording.steps} steps; expected at least {MIN_STEPS}: record more of it, or "
                "take it out of the folder"
            )


def segments(member: Character) -> list[Character]:
    """Five to twenty contiguous segments of a character's timeline, where possible of 250 steps or more."""
    steps = member.recording.steps
    count = min(MAX_SEGMENTS, max(5, min(10, steps // MIN_SEGMENT), steps // SEGMENT))
    if steps < count * MIN_STEPS:
        raise RecordingError(
            f"{member.id} has {steps} steps; expected at least {count * MIN_STEPS} where segments are the tasks: "
            f"record more, or {FEW} characters in a folder each"
        )
    edges = np.linspace(0, steps, count + 1).astype(int)
    pieces = [cut(member.recording, first, last) for first, last in pairwise(edges.tolist())]
    return [Character(f"{member.id}/segment-{i:02d}", piece, digest(piece)) for i, piece in enumerate(pieces)]


def _check_branches(spec: BehaviorSpec) -> None:
    for branch, size in enumerate(spec.action.branch_sizes):
        if size < 2:
            raise RecordingError(
                f"discrete_actions, branch {branch}: there is one choice only, so nothing to decide; expected at least "
                "2: leave the branch out when recording, or, if there are choices that were never taken, name "
                "branch_sizes in behavior.json"
            )


def _last_fifth(members: Iterable[Character]) -> set[str]:
    by_character: dict[str, list[str]] = {}
    for member in members:
        by_character.setdefault(member.id.rpartition("/")[0], []).append(member.id)
    return {name for names in by_character.values() for name in names[-_fifth(len(names)) :]}


def _drawn_fifth(members: Sequence[Character], split: int) -> set[str]:
    plays = list(dict.fromkeys(member.digest for member in sorted(members, key=lambda member: member.id)))
    np.random.default_rng(split).shuffle(plays)
    held = plays[: _fifth(len(plays))]
    return {member.id for member in members if member.digest in held}


def _fifth(count: int) -> int:
    return max(1, round(count / 5))


def _refuse_trained(member: Character, trained: Mapping[str, str]) -> None:
    """A timeline is known as a whole, and by the segments that it would be cut into."""
    own = {member.digest}
    if member.recording.steps >= 5 * MIN_STEPS:
        own |= {piece.digest for piece in segments(member)}
    for seen in own & set(trained):
        raise RecordingError(
            f"{member.id} was in training as {trained[seen]}; evaluate on characters that were not, or say "
            "--include-trained"
        )


def _family(spec: BehaviorSpec, members: Iterable[Character]) -> TimelineFamily:
    members = list(members)
    return TimelineFamily(spec, [member.id for member in members], [member.recording for member in members])
