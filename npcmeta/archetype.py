"""Archetype and NPC files: safetensors with a JSON header, checked on load. No pickle.

The header stands under the metadata key `npcmeta`. The revision is the SHA-256 digest of the header without it and of
every tensor, so a file that was changed in any place no longer matches its own revision.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Generator, Tensor

from npcmeta import demonstrations, files, header
from npcmeta.learners import Settings
from npcmeta.normalising import normalised
from npcmeta.types import BehaviorSpec, Learner, Normaliser, Params

MAX_FILE_BYTES = 1 << 30


class ArchetypeFileError(ValueError):
    """A file that is not what it should be: foreign, truncated, tampered with, or of another archetype."""


class Archetype(NamedTuple):
    """A meta-trained model with all that is known about it."""

    name: str
    family: str
    learner_name: str
    settings: Settings
    spec: BehaviorSpec
    normaliser: Normaliser
    split: dict[str, Any]  # which tasks were trained on, validated on, and held out
    provenance: dict[str, Any]  # the command, seed, versions and measurements that made it
    meta: Params
    revision: str = ""  # empty until saved


class Npc(NamedTuple):
    """One character: the state that adapting left, and the archetype revision it belongs to."""

    name: str
    archetype_name: str
    archetype_revision: str
    examples: int
    seed: int
    state: Params  # acting and memory keys, with a task axis of 1
    display_name: str = ""  # what people call it
    demonstrations: tuple[Params, ...] = ()  # what it was adapted from, where that is kept; see `demonstrations`


def build_learner(archetype: Archetype) -> Learner:
    """The archetype's learner, fed with raw observations: normalising happens inside its functions."""
    return normalised(archetype.settings.build(archetype.spec), archetype.normaliser)


def draw_state_noise(learner: Learner, seeds: Sequence[int]) -> Tensor:
    """Standard normal noise [T, noise_size] for `Learner.begin`, each row fixed by its NPC's seed."""
    size, kind = learner.noise_size, torch.float32
    rows = [torch.randn(size, generator=Generator().manual_seed(seed), dtype=kind) for seed in seeds]
    return torch.stack(rows) if rows else torch.zeros(0, size, dtype=kind)


def begin_npc(archetype: Archetype, name: str, *, seed: int = 0) -> Npc:
    """A new NPC of the archetype, playable before any example."""
    learner = build_learner(archetype)
    state = learner.begin(archetype.meta, 1, draw_state_noise(learner, [seed]))
    return Npc(name, archetype.name, archetype.revision, 0, seed, {k: v.contiguous() for k, v in state.items()})


def save_archetype(archetype: Archetype, path: Path) -> Archetype:
    """Writes the archetype to `path` at once or not at all; returns it with its revision.

    Raises:
        ValueError: If `load_archetype` would refuse its name, spec, settings or normaliser.
    """
    described = _described(archetype)
    header.parse_archetype(described | {"revision": ""})
    revision = header.digest(described, archetype.meta)
    files.write_bytes(path, _to_bytes(archetype.meta, described | {"revision": revision}), durable=True)
    return archetype._replace(revision=revision)


def revision_of(archetype: Archetype) -> str:
    """The revision that `save_archetype` gives it."""
    return header.digest(_described(archetype), archetype.meta)


def _described(archetype: Archetype) -> dict[str, Any]:
    """Its header without the revision, through JSON and back, as a reader will see it.

    Keys of `split` that are numbers become text there, and sort as text.
    """
    described: dict[str, Any] = json.loads(json.dumps(header.describe_archetype(archetype._asdict())))
    return described


def load_archetype(path: Path) -> Archetype:
    """Reads an archetype file and checks all of it.

    Raises:
        ArchetypeFileError: If the file is missing, foreign, truncated or changed, or does not fit its own header.
    """
    return archetype_from_bytes(read_file(path), source=str(path))


def archetype_from_bytes(data: bytes, *, source: str) -> Archetype:
    """Reads the content of an archetype file; `source` names it in errors, which are those of `load_archetype`."""
    described, tensors = _read(data, source, "npcmeta.archetype")
    try:
        archetype = Archetype(**header.parse_archetype(described), meta=tensors)
        with torch.device("meta"):  # shapes without memory: the sizes in a hostile header may be huge
            learner = archetype.settings.build(archetype.spec)
            # In float32, as files are, whatever torch draws in by default in this program.
            expected = {key: value.float() for key, value in learner.init(Generator()).items()}
            state = learner.begin(expected, 1, torch.zeros(1, learner.noise_size, dtype=torch.float32))
        header.check_tensors(tensors, expected)
        header.check_state_size(state, expected)
        header.check_digest(described, tensors)
    except (ValueError, KeyError, TypeError) as error:
        raise ArchetypeFileError(f"{source}: {error}") from error
    _check_playable(archetype, source)
    return archetype


def save_npc(npc: Npc, path: Path) -> None:
    """Writes the NPC to `path` at once or not at all; raises ValueError if `load_npc` would refuse its header."""
    header.parse_npc(_described_npc(npc)[0] | {"revision": ""})
    files.write_bytes(path, npc_to_bytes(npc), durable=True)


def load_npc(path: Path, archetype: Archetype) -> Npc:
    """Reads an NPC of this archetype revision; raises ArchetypeFileError as `load_archetype` does."""
    return npc_from_bytes(read_file(path), archetype, source=str(path))


def npc_to_bytes(npc: Npc) -> bytes:
    """The NPC as the content of a file."""
    described, tensors = _described_npc(npc)
    return _to_bytes(tensors, described | {"revision": header.digest(described, tensors)})


def npc_revision(npc: Npc) -> str:
    """The revision that the NPC's file names: a digest of all that is in it, its demonstrations included."""
    return header.digest(*_described_npc(npc))


def _described_npc(npc: Npc) -> tuple[dict[str, Any], Params]:
    """The header of its file without the revision, and the tensors in it."""
    return header.describe_npc(npc._asdict()), npc.state | demonstrations.to_tensors(npc.demonstrations)


def acting_part(npc: Npc, learner: Learner) -> Npc:
    """The NPC without the memory that refining it would need: it acts and is exported as before, and is far smaller."""
    return npc._replace(state={key: npc.state[key] for key in learner.acting})


def npc_from_bytes(data: bytes, archetype: Archetype, *, source: str, expected: Params | None = None) -> Npc:
    """Reads what `npc_to_bytes` wrote, of a whole NPC or of its acting part.

    Args:
        data: The content of the file.
        archetype: The NPC's archetype.
        source: Names the file in errors.
        expected: A state with the keys and shapes that it has to have, for whoever reads thousands of them.

    Raises:
        ArchetypeFileError: If it is damaged or belongs to another archetype or revision.
    """
    npc = read_npc(data, source=source)
    check_npc(npc, archetype, source=source, expected=expected)
    return npc


def read_npc(data: bytes, *, source: str) -> Npc:
    """Reads an NPC of whatever archetype; `check_npc` says whether its state is one of an archetype.

    Raises:
        ArchetypeFileError: If it is damaged, or holds demonstrations that are none.
    """
    described, tensors = _read(data, source, "npcmeta.npc")
    try:
        known = header.parse_npc(described)
        state, shown = demonstrations.from_tensors(tensors, described.get("demonstrations", 0))
        header.check_digest(described, tensors)
    except (ValueError, KeyError, TypeError) as error:
        raise ArchetypeFileError(f"{source}: {error}") from error
    return Npc(**known, state=state, demonstrations=shown)


def check_npc(npc: Npc, archetype: Archetype, *, source: str, expected: Params | None = None) -> None:
    """Raises ArchetypeFileError unless an NPC belongs to this archetype revision; arguments as for `npc_from_bytes`."""
    if npc.archetype_revision != archetype.revision:
        raise ArchetypeFileError(
            f"{source}: this NPC belongs to archetype {npc.archetype_name} revision {npc.archetype_revision[:12]}, "
            f"got {archetype.name} revision {archetype.revision[:12]}; adapt it again from its demonstrations"
        )
    try:
        header.check_tensors(npc.state, _expected_state(archetype, npc.state) if expected is None else expected)
    except ValueError as error:
        raise ArchetypeFileError(f"{source}: {error}") from error


def _expected_state(archetype: Archetype, found: Params) -> Params:
    """What the state of an NPC looks like, or its acting part if that is what was found."""
    begun = begin_npc(archetype, "shape")
    part = acting_part(begun, build_learner(archetype))
    return part.state if set(found) == set(part.state) else begun.state


def _to_bytes(tensors: Params, described: dict[str, Any]) -> bytes:
    contiguous = {key: value.detach().contiguous() for key, value in tensors.items()}
    return save(contiguous, {"npcmeta": json.dumps(described, sort_keys=True)})


def read_file(path: Path) -> bytes:
    """The content of an archetype or NPC file; raises ArchetypeFileError if it is too large or cannot be read."""
    try:
        data = files.read_up_to(path, MAX_FILE_BYTES)
    except OSError as error:
        raise ArchetypeFileError(f"{path}: cannot be read ({error.strerror}); is the path right?") from error
    if len(data) > MAX_FILE_BYTES:
        raise ArchetypeFileError(f"{path}: expected at most {MAX_FILE_BYTES:,} bytes")
    return data


def _read(data: bytes, source: str, kind: str) -> tuple[dict[str, Any], Params]:
    try:
        described = header.read_metadata(data, kind)
        return described, load(data)
    except (SafetensorError, ValueError) as error:
        raise ArchetypeFileError(f"{source}: {error}; expected an intact {kind} file") from error
    except KeyError as error:  # how safetensors says that torch has no such number format
        raise ArchetypeFileError(f"{source}: holds tensors of type {error}, expected float32") from error


def _check_playable(archetype: Archetype, source: str) -> None:
    learner = build_learner(archetype)
    state = begin_npc(archetype, "first").state
    average = torch.tensor(archetype.normaliser.mean, dtype=torch.float32).reshape(1, 1, -1)
    if not torch.isfinite(learner.predict(archetype.meta, state, average)).all():
        raise ArchetypeFileError(
            f"{source}: on the average observation its policy puts out NaN or infinity; "
            "its settings or weights are out of range: train it again"
        )
