"""The table of NPCs: each function works inside a transaction of the store."""

from __future__ import annotations

import secrets

from sqlalchemy import Connection, RowMapping, delete, insert, select

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import schema
from npcmeta_server.store.requests import remember, repeated, same_life
from npcmeta_server.store.rows import NpcRow, RequestKey


def new_etag() -> str:
    """A fresh etag."""
    return secrets.token_hex(8)


def find(connection: Connection, npc: str) -> NpcRow:
    """An NPC, or NPC_NOT_FOUND."""
    row = connection.execute(select(schema.npcs).where(schema.npcs.c.id == npc)).mappings().first()
    if row is None:
        raise ServiceError("NPC_NOT_FOUND", f"there is no npcs/{npc}; create it first", npc=npc)
    return as_npc(row)


def page(connection: Connection, archetype: str, after: str, limit: int) -> list[NpcRow]:
    """NPCs (of an archetype, if it is not empty) in order of id, those behind `after`."""
    query = select(schema.npcs).where(schema.npcs.c.id > after).order_by(schema.npcs.c.id).limit(limit)
    if archetype:
        query = query.where(schema.npcs.c.archetype == archetype)
    return [as_npc(row) for row in connection.execute(query).mappings()]


def created(connection: Connection, request: RequestKey) -> NpcRow | None:
    """The NPC that the first try of this request made."""
    before = repeated(connection, request)
    return None if before is None else same_life(find(connection, before["npc"]), before)


def create(connection: Connection, npc: NpcRow, archetype_revision: str, state: bytes, request: RequestKey) -> None:
    """Writes a new NPC with its unadapted state as revision 1, or NPC_EXISTS."""
    if connection.execute(select(schema.npcs.c.id).where(schema.npcs.c.id == npc.id)).first():
        raise ServiceError("NPC_EXISTS", f"npcs/{npc.id} exists; choose another npc_id", npc=npc.id)
    connection.execute(insert(schema.npcs).values(**npc._asdict() | {"seed": str(npc.seed)}))
    first = {"npc": npc.id, "number": 1, "archetype": npc.archetype, "archetype_revision": archetype_revision}
    first |= {"examples": 0, "support_nll": 0.0, "create_time": npc.create_time, "state": state}
    connection.execute(insert(schema.revisions).values(**first))
    remember(connection, request, {"npc": npc.id, "create_time": npc.create_time})


def remove(connection: Connection, npc: str, etag: str) -> None:
    """Deletes an NPC with all that belongs to it; only with this etag, if it is not empty."""
    row = find(connection, npc)
    if etag and etag != row.etag:
        raise ServiceError(
            "ETAG_MISMATCH", f'npcs/{npc} has etag "{row.etag}", the request says "{etag[:64]}"; get it again'
        )
    connection.execute(delete(schema.npcs).where(schema.npcs.c.id == npc))


def as_npc(row: RowMapping) -> NpcRow:
    """An NPC from a row of its table."""
    return NpcRow(**{field: row[field] for field in NpcRow._fields} | {"seed": int(row["seed"])})
