"""Characters on disk: a folder of recordings each, one timeline each, one behavior spec for all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npcmeta.recordings.behavior import FILE, Behavior, read_behavior
from npcmeta.recordings.demo import read_demo
from npcmeta.recordings.npz import read_npz
from npcmeta.recordings.recording import Recording, RecordingError, check_extent, join, unmasked
from npcmeta.types import ActionSpec, BehaviorSpec

READERS = {".npz": read_npz, ".demo": read_demo}
DEFAULT_TICK_RATE_HZ = 10.0


class Character(NamedTuple):
    """One character's timeline; the id is the sub-folder's name, the digest a sha256 of what was seen and done."""

    id: str
    recording: Recording
    digest: str


class Characters(NamedTuple):
    """Everybody found at a path, agreeing on one spec."""

    spec: BehaviorSpec
    members: tuple[Character, ...]
    notes: tuple[str, ...]


def read_folder(path: Path, expected: BehaviorSpec | None = None) -> Characters:
    """Reads the characters at `path`: a folder with a sub-folder for each, one flat folder, or one file.

    Args:
        path: Where they are. A `behavior.json` in that folder (or beside the file) says what files leave open.
        expected: A spec that they have to fit, for example an archetype's.

    Raises:
        RecordingError: If a file cannot be used, or two do not fit together; the message names them.
    """
    behavior = read_behavior((path if path.is_dir() else path.parent) / FILE)
    if expected is not None:
        behavior = _filled(behavior, expected, path)
    groups, notes = find_characters(path)
    read = [(name, str(files[0].parent if path.is_dir() else files[0]), read_files(files, behavior))
            for name, files in groups]  # fmt: skip
    recordings = agree([(source, recording) for _, source, recording in read])
    notes += tuple(note for recording in recordings for note in recording.notes)
    spec, more = _spec(recordings, behavior)
    members = tuple(Character(name, r, digest(r)) for (name, _, _), r in zip(read, recordings, strict=True))
    return Characters(spec, members, notes + more + _twins(members))


def read_character(folder: Path, branch_sizes: tuple[int, ...] | None = None) -> Recording:
    """Reads a folder's recordings, or one file, as one timeline, files in name order.

    Raises:
        RecordingError: If there are none, one of them cannot be used, or they do not fit together.
    """
    files = [folder] if folder.is_file() else _of_one_character(folder)
    return read_files(files, Behavior(branch_sizes=branch_sizes))


def read_files(files: Sequence[Path], behavior: Behavior) -> Recording:
    """Reads files as one timeline; every file begins an episode."""
    recordings = [_read(file, behavior) for file in files]
    agreed = agree(list(zip(map(str, files), recordings, strict=True)))
    for file, recording in zip(files, agreed, strict=True):
        behavior.check(recording, str(file))
    return join(agreed)


def read_demonstrations(paths: Sequence[Path], expected: BehaviorSpec) -> Recording:
    """Reads files, and folders of them, as one timeline that fits a spec, for example to adapt an archetype.

    Raises:
        RecordingError: If one cannot be used, or does not fit.
    """
    files = [file for path in paths for file in (_of_one_character(path) if path.is_dir() else [path])]
    return read_files(files, _filled(Behavior(), expected, paths[0]))


def _of_one_character(folder: Path) -> list[Path]:
    files = recordings_in(folder)
    if not files:
        within = next((part.name for part in sorted(folder.iterdir()) if part.is_dir() and recordings_in(part)), None)
        hint = (
            "" if within is None else f"; those in its sub-folders are of a character each: name one, {folder / within}"
        )
        raise RecordingError(f"{folder}: no recordings; expected files ending in {' or '.join(READERS)}{hint}")
    return files


def read_file(path: Path, branch_sizes: tuple[int, ...] | None = None) -> Recording:
    """Reads one recording of either kind.

    Raises:
        RecordingError: If it is of neither kind, or cannot be used.
    """
    if path.suffix == ".npz":
        return read_npz(path, branch_sizes)
    if path.suffix == ".demo":
        return read_demo(path)
    raise RecordingError(f"{path}: not a recording; expected a file ending in {' or '.join(READERS)}, or a folder")


def unusable(path: Path) -> list[str]:
    """Why files at `path` cannot be read, each by itself; whether they fit together is not looked at."""
    behavior = read_behavior((path if path.is_dir() else path.parent) / FILE)
    found = []
    for file in (file for _, files in find_characters(path)[0] for file in files):
        try:
            behavior.check(_read(file, behavior), str(file))
        except RecordingError as error:
            found.append(str(error))
    return found


def _read(file: Path, behavior: Behavior) -> Recording:
    """Reads one recording; that it is of another character's kind is said before that its choices are."""
    try:
        return read_file(file, behavior.branch_sizes)
    except RecordingError:
        if behavior.branch_sizes is not None:
            behavior._replace(branch_sizes=None).check(read_file(file), str(file))
        raise


def find_characters(path: Path) -> tuple[list[tuple[str, list[Path]]], tuple[str, ...]]:
    """Names and files of the characters at `path`, in name order, and notes on what was passed over."""
    if path.is_file():
        return [(path.stem, [path])], ()
    if not path.is_dir():
        raise RecordingError(f"{path}: there is no such file or folder")
    folders = [folder for folder in sorted(path.iterdir()) if folder.is_dir() and not folder.name.startswith(".")]
    found = [(folder.name, files) for folder in folders if (files := recordings_in(folder))]
    loose = recordings_in(path)
    if found and loose:
        return found, (f"{path}: ignored {len(loose)} recordings outside of the characters' folders",)
    if not found and not loose:
        raise RecordingError(
            f"{path}: no recordings; expected a folder for each character, with files ending in {' or '.join(READERS)}"
        )
    return (found or [(path.resolve().name, loose)]), ()


def recordings_in(folder: Path) -> list[Path]:
    """The folder's recordings in name order; hidden files, which some systems leave beside others, are passed over."""
    found = (file for file in folder.iterdir() if file.suffix in READERS and not file.name.startswith("."))
    return sorted(file for file in found if file.is_file())


def agree(named: Sequence[tuple[str, Recording]]) -> list[Recording]:
    """Gives all recordings the same branch sizes; those that only saw some of the choices are widened.

    Raises:
        RecordingError: If two of them differ in what they hold; the message names both.
    """
    _check_same(named, lambda r: r.observations.shape[1], "numbers in an observation")
    _check_same(named, lambda r: r.continuous_actions.shape[1], "continuous actions")
    _check_same(named, lambda r: len(r.branch_sizes), "discrete branches")
    declared = [(source, r) for source, r in named if r.branches_declared]
    _check_same(declared, lambda r: r.branch_sizes, "choices in its branches")
    _check_same([(s, r) for s, r in named if r.tick_rate_hz is not None], lambda r: r.tick_rate_hz, "ticks a second")
    seen = np.max([r.branch_sizes for _, r in named], axis=0) if named[0][1].branch_sizes else ()
    sizes = declared[0][1].branch_sizes if declared else tuple(int(size) for size in seen)
    rates = [r.tick_rate_hz for _, r in named if r.tick_rate_hz is not None]
    rate = rates[0] if rates else None
    # Where nobody declared them, the next recordings may still widen the branches.
    return [
        _widened(r, sizes, source)._replace(tick_rate_hz=rate, branches_declared=bool(declared)) for source, r in named
    ]


def digest(recording: Recording) -> str:
    """A sha256 of what was seen and done; the same for the same play under another name or in another file format."""
    total = hashlib.sha256()
    for values in (recording.observations, recording.continuous_actions, recording.discrete_actions):
        total.update(repr(values.shape).encode() + np.ascontiguousarray(values).tobytes())
    return total.hexdigest()


def _check_same(named: Sequence[tuple[str, Recording]], measure: Callable[[Recording], Any], what: str) -> None:
    for (first, one), (second, other) in pairwise(named):
        if measure(one) != measure(other):
            raise RecordingError(
                f"{second} has {measure(other)} {what}, {first} has {measure(one)}; expected the same in all recordings"
            )


def _widened(recording: Recording, sizes: tuple[int, ...], source: str) -> Recording:
    if recording.branch_sizes == sizes:
        return recording
    if any(seen > size for seen, size in zip(recording.branch_sizes, sizes, strict=True)):
        raise RecordingError(
            f"{source}: the largest choices make branches of {recording.branch_sizes}; expected at most {sizes}, as in "
            "the other recordings"
        )
    check_extent(recording.steps, 0, 0, sizes, source)
    return recording._replace(branch_sizes=sizes, action_masks=unmasked(recording.steps, sizes))


def _spec(recordings: Sequence[Recording], behavior: Behavior) -> tuple[BehaviorSpec, tuple[str, ...]]:
    first, rate = recordings[0], behavior.tick_rate_hz or recordings[0].tick_rate_hz
    notes = [] if rate else [f"the tick rate is unknown, {DEFAULT_TICK_RATE_HZ:g} Hz assumed: tick_rate_hz in {FILE}"]
    if first.branch_sizes and not first.branches_declared:
        seen = " + ".join(map(str, first.branch_sizes))
        notes.append(f"branch_sizes is not given, {seen} choices were seen: if there are more, branch_sizes in {FILE}")
    action = ActionSpec(first.continuous_actions.shape[1], first.branch_sizes)
    return BehaviorSpec(first.observations.shape[1], action, rate or DEFAULT_TICK_RATE_HZ), tuple(notes)


def _filled(behavior: Behavior, expected: BehaviorSpec, path: Path) -> Behavior:
    """The behavior with `expected` for what it leaves open; they must not contradict each other."""
    wanted = Behavior(
        expected.tick_rate_hz, expected.observation_size, expected.action.continuous_size, expected.action.branch_sizes
    )
    for name, own, other in zip(Behavior._fields, behavior, wanted, strict=True):
        if own is not None and own != other:
            raise RecordingError(f"{path}: {FILE} says {name} {own}; expected {other}, as in the archetype")
    return wanted


def _twins(members: Iterable[Character]) -> tuple[str, ...]:
    seen: dict[str, str] = {}
    notes = []
    for member in members:
        if member.digest in seen:
            notes.append(f"{member.id} and {seen[member.digest]} hold the same play")
        seen[member.digest] = member.id
    return tuple(notes)
