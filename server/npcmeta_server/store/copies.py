"""All that an NPC is, read as a whole and written as a whole: each function works inside a transaction of the store."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select

from npcmeta_server.store import demonstrations, revisions, schema
from npcmeta_server.store.rows import Snapshot


def snapshot(connection: Connection, npc: str) -> Snapshot:
    """An NPC with the revision that acts, and the clips that it was adapted from and that still exist, oldest first."""
    row, revision, state = revisions.state(connection, npc)
    return Snapshot(row, revision, state, tuple(revisions.clips(connection, npc, revision.number)))


def write_sources(connection: Connection, npc: str, clips: Sequence[tuple[bytes, int]]) -> None:
    """Writes the clips (data, and number of examples) that an NPC's first revision was adapted from."""
    at = (schema.revisions.c.npc == npc) & (schema.revisions.c.number == 1)
    first = connection.execute(select(schema.revisions.c.key).where(at)).scalar_one()
    for data, count in clips:
        _, key = demonstrations.write(connection, npc, data, count)
        connection.execute(insert(schema.sources).values(revision=first, demonstration=key))
