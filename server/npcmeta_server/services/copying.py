"""NPCs made of other NPCs, of this server or out of a file."""

from __future__ import annotations

import secrets
import time
from typing import NamedTuple

from npcmeta.archetype import Npc, npc_to_bytes
from npcmeta_server import clips, names, portable
from npcmeta_server.access.caller import caller
from npcmeta_server.adapting.jobs import AdaptJob
from npcmeta_server.adapting.pool import AdaptationPool
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import npcs_pb2, resources_pb2
from npcmeta_server.limits import MAX_DISPLAY_NAME, MAX_SEED
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.portable import Portable
from npcmeta_server.roster import Roster
from npcmeta_server.seating import read_state
from npcmeta_server.store import NpcRow, RequestKey, Store, new_etag

MAX_CHOSEN_SEED = (1 << 53) - 1
"""What JavaScript's numbers hold exactly: a client may want to give the seed of one NPC to another."""


class Beginning(NamedTuple):
    """What a new NPC begins with."""

    row: NpcRow
    archetype_revision: str
    state: bytes
    support_nll: float
    clips: tuple[tuple[bytes, int], ...]  # that it was adapted from: data and number of examples


async def from_file(read: Portable, npc_id: str, pool: AdaptationPool, filing: OwnerThread) -> Beginning:
    """What the NPC of a file begins with here: its own state, or what its demonstrations make of it here."""
    archetype, now = read.hosted.archetype, time.time()
    npc = read.npc._replace(seed=read.npc.seed or new_seed())
    name = names.checked_id(npc_id, "npc_id") if npc_id else npc.name
    if read.fits:
        own = npc._replace(name=name, display_name="")
        state, examples, nll = npc_to_bytes(own), npc.examples, await filing.run(portable.nll_of, read)
    else:
        shown = await filing.run(clips.join, read.clips, archetype.spec)
        job = AdaptJob(archetype.revision, name, npc.seed, shown)
        adapted = await pool.adapt(job, client=caller())
        state, examples, nll = adapted.data, adapted.examples, adapted.support_nll
    display_name = checked_text(npc.display_name, "display_name")
    row = NpcRow(name, archetype.name, display_name, npc.seed, 1, examples, now, now, new_etag())
    kept = await filing.run(lambda: tuple((clips.to_bytes(clip), clip.examples) for clip in read.clips))
    return Beginning(row, archetype.revision, state, nll, kept)


def clone(roster: Roster, store: Store, request: npcs_pb2.CloneNpcRequest, key: RequestKey) -> NpcRow:
    """On the store's thread: makes an NPC with state and clips of another one, or finds what the first try made."""
    if (before := store.created(key)) is not None:
        return before
    source = store.snapshot(names.npc_id(request.source, "source"))
    archetype = source.npc.archetype
    if request.npc.archetype and names.archetype_id(request.npc.archetype, "npc.archetype") != archetype:
        raise ServiceError(
            "WRONG_ARCHETYPE",
            f"npcs/{source.npc.id} belongs to archetypes/{archetype}, and so does its clone; the request says "
            f"{request.npc.archetype}",
            archetype=archetype,
        )
    hosted = roster.repertoire.acting(archetype, source.revision.archetype_revision, source.npc.id)
    state = read_state(hosted, source.npc.id, source.state)
    row = new_row(request.npc_id, request.npc, archetype, source.npc)
    npc = Npc(row.id, archetype, source.revision.archetype_revision, row.examples, row.seed, state)
    stored, _ = store.create_npc(
        row, npc.archetype_revision, npc_to_bytes(npc), key, source.revision.support_nll, source.clips
    )
    return stored


def new_row(npc_id: str, wanted: resources_pb2.Npc, archetype: str, like: NpcRow | None = None) -> NpcRow:
    """An NPC as a client wants it, made now; where it says nothing, `like` another one, but with a seed of its own."""
    display_name, now = checked_text(wanted.display_name, "display_name"), time.time()
    if wanted.seed > MAX_SEED:
        raise ServiceError("INVALID_ARGUMENT", f"seed is {wanted.seed}, expected at most {MAX_SEED}", field="seed")
    npc = names.checked_id(npc_id, "npc_id") if npc_id else secrets.token_hex(8)
    seed, examples = wanted.seed or new_seed(), 0
    if like is not None:
        display_name, examples = display_name or like.display_name, like.examples
    return NpcRow(npc, archetype, display_name, seed, 1, examples, now, now, new_etag())


def new_seed() -> int:
    """A seed for whom nobody chose one: NPCs of the same seed would draw their actions in unison."""
    return 1 + secrets.randbelow(MAX_CHOSEN_SEED)


def checked_text(text: str, field: str) -> str:
    """A text of as many characters as a display_name may have; no database takes NUL."""
    if len(text) > MAX_DISPLAY_NAME or "\0" in text:
        raise ServiceError(
            "INVALID_ARGUMENT",
            f"{field} has {len(text)} characters, expected at most {MAX_DISPLAY_NAME}, and none of them NUL",
            field=field,
        )
    return text
