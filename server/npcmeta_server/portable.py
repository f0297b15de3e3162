"""NPCs as files that another server takes: written of a snapshot, and read as if somebody hostile had written them.

Nothing here belongs on the event loop or on a thread that others wait for: a file takes its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from npcmeta.archetype import (
    Archetype,
    ArchetypeFileError,
    Npc,
    acting_part,
    build_learner,
    check_npc,
    npc_to_bytes,
    read_npc,
)
from npcmeta.evaluate import support_nll
from npcmeta.types import BehaviorSpec, Params
from npcmeta_server import clips
from npcmeta_server.catalog import Hosted
from npcmeta_server.clips import Clip
from npcmeta_server.errors import ServiceError
from npcmeta_server.limits import MAX_EXAMPLES, MAX_FILE_HEADER
from npcmeta_server.repertoire import Repertoire
from npcmeta_server.seating import read_state
from npcmeta_server.store import Snapshot

MOST_CLIPS = 1000
"""Demonstrations in a file that is written; where there are more, those that follow each other are joined."""

MOST_SHOWN = 400
"""Characters of a file's fault that are told."""


class Portable(NamedTuple):
    """An NPC that was read from a file, and passed every check."""

    npc: Npc  # its acting part; without demonstrations
    clips: list[Clip]
    hosted: Hosted  # what it is to act with
    fits: bool  # whether its state is one of that archetype revision; else it has to be adapted again


def write(snapshot: Snapshot, hosted: Hosted) -> bytes:
    """The content of a file that holds all that an NPC is."""
    row, spec = snapshot.npc, hosted.archetype.spec
    shown = _joined([clips.from_bytes(data, spec) for data, _ in snapshot.clips], spec)
    state = read_state(hosted, row.id, snapshot.state)
    archetype = hosted.archetype
    npc = Npc(row.id, archetype.name, archetype.revision, row.examples, row.seed, state, row.display_name)
    return npc_to_bytes(npc._replace(demonstrations=tuple(_fields(clip) for clip in shown)))


def read(data: bytes) -> Npc:
    """Reads a file; nothing is known yet of whether its NPC can act here. Raises ServiceError: INVALID_FILE."""
    _check_header(data)
    try:
        return read_npc(data, source="file")
    except ArchetypeFileError as error:
        raise _invalid(str(error)) from error


def check(npc: Npc, repertoire: Repertoire) -> Portable:
    """Checks an NPC that was read from a file.

    Raises:
        ServiceError: INVALID_FILE, saying what is wrong with it; TOO_MANY; REVISION_UNAVAILABLE if its archetype is not
            offered, or another revision of it and there are no demonstrations to adapt to.
    """
    hosted, fits = _host(npc, repertoire)
    if fits:
        npc = _acting(npc, hosted.archetype)
    if npc.examples > MAX_EXAMPLES:
        raise _invalid(f"file: the NPC has {npc.examples} examples, expected at most {MAX_EXAMPLES}")
    shown = [_clip(i, fields, hosted.archetype) for i, fields in enumerate(npc.demonstrations)]
    clips.check_total(sum(clip.examples for clip in shown))
    if not fits and npc.examples and not shown:
        raise ServiceError(
            "REVISION_UNAVAILABLE",
            f"the NPC was adapted by revision {npc.archetype_revision[:12]} of archetypes/{npc.archetype_name}, "
            f"offered is {hosted.archetype.revision[:12]}, and the file holds no demonstrations to adapt it from; "
            "upload that revision, or export the NPC from a server",
        )
    return Portable(npc._replace(demonstrations=()), shown, hosted, fits)


def nll_of(read: Portable) -> float:
    """Mean NLL of an NPC's demonstrations in nats per decision under its own state; 0 if it has none."""
    if not read.clips:
        return 0.0
    archetype = read.hosted.archetype
    examples = clips.to_examples(clips.join(read.clips, archetype.spec))
    with torch.no_grad():
        return float(support_nll(build_learner(archetype), archetype.meta, read.npc.state, examples))


def _check_header(data: bytes) -> None:
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > MAX_FILE_HEADER:
        found = f"is {len(data)} bytes long" if len(data) < 8 else f"says that its header has {size} bytes"
        raise _invalid(f"file: {found}, expected an NPC's file with a header of at most {MAX_FILE_HEADER} bytes")


def _host(npc: Npc, repertoire: Repertoire) -> tuple[Hosted, bool]:
    """What an NPC is to act with, and whether that is what it was adapted by."""
    name = npc.archetype_name
    if (same := repertoire.revision(name, npc.archetype_revision)) is not None:
        return same, True
    if name not in repertoire:
        raise ServiceError(
            "REVISION_UNAVAILABLE",
            f'the NPC belongs to archetype "{name[:63]}", offered are: {", ".join(repertoire.names[:20])}; upload its '
            "archetype first",
        )
    return repertoire.current(name), False


def _acting(npc: Npc, archetype: Archetype) -> Npc:
    """What acts of an NPC of this archetype revision, if it can be played."""
    try:
        check_npc(npc, archetype, source="file")
    except ArchetypeFileError as error:
        raise _invalid(str(error)) from error
    learner = build_learner(archetype)
    acting = acting_part(npc, learner)
    average = torch.tensor(archetype.normaliser.mean).reshape(1, 1, -1)
    with torch.no_grad():
        decided = learner.predict(archetype.meta, acting.state, average)
    if not torch.isfinite(decided).all():
        raise _invalid("file: with its state the policy puts out NaN or infinity; adapt the NPC again")
    return acting


def _clip(number: int, fields: Params, archetype: Archetype) -> Clip:
    """A demonstration of a file, checked as one that comes over the wire."""
    try:
        return clips.of_arrays({name: value.numpy() for name, value in fields.items()}, archetype.spec)
    except ServiceError as error:
        if error.reason != "INVALID_TENSOR":
            raise
        raise _invalid(f"file: demonstration {number}: {error.message}") from error


def _fields(clip: Clip) -> Params:
    return {name: torch.from_numpy(value.copy()) for name, value in clip._asdict().items() if value.size}


def _joined(shown: Sequence[Clip], spec: BehaviorSpec) -> list[Clip]:
    """The same examples in no more clips than a file may have."""
    each = -(-len(shown) // MOST_CLIPS)
    if each <= 1:
        return list(shown)
    return [clips.join(shown[start : start + each], spec) for start in range(0, len(shown), each)]


def _invalid(message: str) -> ServiceError:
    # What a file says need not be text that can be sent.
    return ServiceError("INVALID_FILE", message[:MOST_SHOWN].encode("utf-8", "replace").decode())
