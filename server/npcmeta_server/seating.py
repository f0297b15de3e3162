"""Seating: NPCs as the store holds them, made ready to act in a bank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from npcmeta.archetype import ArchetypeFileError, npc_from_bytes
from npcmeta.types import Params
from npcmeta_server.acting.state_bank import StateBank
from npcmeta_server.catalog import Hosted
from npcmeta_server.errors import ServiceError
from npcmeta_server.repertoire import Repertoire
from npcmeta_server.store import NpcRow, RevisionRow


class Acting(NamedTuple):
    """An NPC that may act until it is released."""

    npc: str
    row: int
    seed: int


class Resident(NamedTuple):
    """What the bank needs to know of an NPC."""

    npc: NpcRow
    revision: RevisionRow
    state: Params


def resident(repertoire: Repertoire, archetype: str, row: NpcRow, revision: RevisionRow, data: bytes) -> Resident:
    """An NPC as it was read, if it is one of this archetype and of a revision that is loaded."""
    if row.archetype != archetype:
        raise ServiceError(
            "WRONG_ARCHETYPE",
            f"npcs/{row.id} belongs to archetypes/{row.archetype}, not to archetypes/{archetype}",
            npc=row.id,
            archetype=row.archetype,
        )
    hosted = repertoire.acting(archetype, revision.archetype_revision, row.id)
    return Resident(row, revision, read_state(hosted, row.id, data))


def read_state(hosted: Hosted, npc: str, data: bytes) -> Params:
    """The state of an NPC of an archetype revision, or STORE_UNAVAILABLE if it is damaged."""
    try:
        source, expected = f"npcs/{npc}", hosted.first_state
        return npc_from_bytes(data, hosted.archetype, source=source, expected=expected).state
    except ArchetypeFileError as error:
        raise ServiceError("STORE_UNAVAILABLE", f"the store holds a damaged state: {error}", npc=npc) from error


def seat(
    bank: StateBank, npcs: Sequence[str], read: dict[str, Resident | ServiceError | None]
) -> list[Acting | ServiceError]:
    """Acquires NPCs, on the acting thread: first those that are resident, so that nobody read makes them give way."""
    read = read | {npc: _renewed(bank, npc, found) for npc, found in read.items() if npc in bank}
    rows = [None if isinstance(read.get(npc), ServiceError) else bank.acquire(npc) for npc in npcs]
    return [_acting(bank, npc, row, read.get(npc)) for npc, row in zip(npcs, rows, strict=True)]


def _renewed(bank: StateBank, npc: str, found: Resident | ServiceError | None) -> Resident | ServiceError | None:
    """Lets a resident NPC act as another server left it, or not at all."""
    if isinstance(found, Resident):
        revision = found.revision
        try:
            bank.check_move(npc, revision.archetype_revision)
        except ServiceError as error:
            found = error
        else:
            bank.renew(npc, revision.number, found.state, revision.archetype_revision, revision.create_time)
            return found
    if isinstance(found, ServiceError) and found.reason == "REVISION_UNAVAILABLE":
        return found  # whoever has it in a cast goes on with what was loaded, until its new revision is
    bank.remove(npc)
    return found


def _acting(bank: StateBank, npc: str, row: int | None, read: Resident | ServiceError | None) -> Acting | ServiceError:
    if isinstance(read, ServiceError):
        return read
    if row is None and read is not None:
        try:
            if npc not in bank:
                revision = read.revision
                made = revision.create_time
                bank.put(npc, revision.number, read.npc.seed, read.state, revision.archetype_revision, made)
        except ServiceError as error:
            return error
        row = bank.acquire(npc)
    if row is None:
        return ServiceError("NPC_NOT_FOUND", f"there is no npcs/{npc}; create it first", npc=npc)
    return Acting(npc, row, bank.seed(row))
