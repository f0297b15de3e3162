"""The table of NPCs: each function works inside a transaction of the store."""

from __future__ import annotations

import secrets
import string
import time
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, func, insert, or_, select, update

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import blobs, schema
from npcmeta_server.store.requests import remember, repeated, same_life
from npcmeta_server.store.rows import NpcFilter, NpcRow, RequestKey

LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
"""What every database means by lower case; of other letters each has its own idea."""

LOOKED_AT = 5_000
"""NPCs that a page of a list with a filter looks at: about 10 ms, in which commits and casts wait."""
# Statements that every adaptation needs are made once: making one takes longer than carrying it out.
_FIND = select(schema.npcs).where(schema.npcs.c.id == bindparam("npc"))
_WRITE = update(schema.npcs).where(schema.npcs.c.id == bindparam("npc"), schema.npcs.c.etag == bindparam("as_read"))


def new_etag() -> str:
    """A fresh etag."""
    return secrets.token_hex(8)


def find(connection: Connection, npc: str) -> NpcRow:
    """An NPC, or NPC_NOT_FOUND."""
    row = connection.execute(_FIND, {"npc": npc}).mappings().first()
    if row is None:
        raise ServiceError("NPC_NOT_FOUND", f"there is no npcs/{npc}; create it first", npc=npc)
    return as_npc(row)


def page(connection: Connection, wanted: NpcFilter, after: str, limit: int) -> tuple[list[NpcRow], str]:
    """NPCs that pass a filter in order of id, those behind `after`, and behind whom to go on; empty if that is all.

    There may be fewer than `limit` though there are more: one page looks at no more than some, as others wait for it.
    """
    table, of = schema.npcs, schema.npcs.c
    behind = select(table).where(of.id > after).order_by(of.id)
    if wanted.archetype:
        behind = behind.where(of.archetype == wanted.archetype)
    seen = behind.limit(LOOKED_AT if wanted.text or wanted.min_examples else limit + 1).subquery()
    query = select(seen).where(*_passing(wanted, seen.c)).order_by(seen.c.id).limit(limit + 1)
    rows = [as_npc(row) for row in connection.execute(query).mappings()]
    if len(rows) > limit:
        return rows[:limit], rows[limit - 1].id
    count, last = connection.execute(select(func.count(), func.max(seen.c.id)).select_from(seen)).one()
    return rows, last if count == LOOKED_AT else ""


def created(connection: Connection, request: RequestKey) -> NpcRow | None:
    """The NPC that the first try of this request made."""
    before = repeated(connection, request)
    return None if before is None else same_life(find(connection, before["npc"]), before)


def create(
    connection: Connection,
    npc: NpcRow,
    archetype_revision: str,
    state: bytes,
    request: RequestKey,
    support_nll: float = 0.0,
) -> None:
    """Writes a new NPC with its state as revision 1, or NPC_EXISTS."""
    if connection.execute(select(schema.npcs.c.id).where(schema.npcs.c.id == npc.id)).first():
        raise ServiceError("NPC_EXISTS", f"npcs/{npc.id} exists; choose another npc_id", npc=npc.id)
    connection.execute(insert(schema.npcs).values(**npc._asdict() | {"seed": str(npc.seed)}))
    first = {"npc": npc.id, "number": 1, "archetype": npc.archetype, "archetype_revision": archetype_revision}
    first |= {"examples": npc.examples, "support_nll": support_nll, "create_time": npc.create_time}
    connection.execute(insert(schema.revisions).values(**first, blob=blobs.put(connection, state)))
    remember(connection, request, {"npc": npc.id, "create_time": npc.create_time})


def remove(connection: Connection, npc: str, etag: str, request: RequestKey) -> bool:
    """Deletes an NPC with all that belongs to it; returns whether it did, and not the first try of this request."""
    if repeated(connection, request) is not None:
        return False
    expect(connection, npc, etag)
    tables = (schema.demonstrations, schema.revisions)
    keys = blobs.used(connection, *(select(table.c.blob).where(table.c.npc == npc) for table in tables))
    connection.execute(delete(schema.npcs).where(schema.npcs.c.id == npc))
    blobs.sweep(connection, keys)
    remember(connection, request, {})
    return True


def changed(connection: Connection, npc: str, request: RequestKey) -> NpcRow | None:
    """The NPC, if the first try of this request changed it."""
    before = repeated(connection, request)
    return None if before is None else same_life(find(connection, npc), before)


def change(connection: Connection, npc: NpcRow, request: RequestKey, **values: Any) -> NpcRow:
    """Writes some columns of an NPC, with a new time and etag; returns it as it is then."""
    row = write(connection, npc, update_time=time.time(), **values)
    remember(connection, request, {"create_time": row.create_time})
    return row


def rename(connection: Connection, npc: str, display_name: str, etag: str, request: RequestKey) -> NpcRow:
    """Changes what an NPC is called, unless the first try of this request did; only with this etag, if one is given."""
    if (before := changed(connection, npc, request)) is not None:
        return before
    return change(connection, expect(connection, npc, etag), request, display_name=display_name)


def write(connection: Connection, npc: NpcRow, **values: Any) -> NpcRow:
    """Writes some columns of an NPC, with a new etag, if it still is as it was read; returns it as it is then."""
    row = npc._replace(etag=new_etag(), **values)
    changed = connection.execute(_WRITE, {**values, "etag": row.etag, "npc": npc.id, "as_read": npc.etag})
    if changed.rowcount != 1:
        raise ServiceError("ETAG_MISMATCH", f"npcs/{npc.id} was changed meanwhile; get it again")
    return row


def expect(connection: Connection, npc: str, etag: str) -> NpcRow:
    """An NPC; ETAG_MISMATCH if an etag is given that is not its own."""
    row = find(connection, npc)
    if etag and etag != row.etag:
        raise ServiceError(
            "ETAG_MISMATCH", f'npcs/{npc} has etag "{row.etag}", the request says "{etag[:64]}"; get it again'
        )
    return row


def _passing(wanted: NpcFilter, of: Any) -> list[Any]:
    """The conditions on columns that no index helps with."""
    found = []
    if wanted.text:
        lower = wanted.text.translate(LOWER)
        texts = (of.id.contains(lower, autoescape=True), of.display_name.contains(wanted.text, autoescape=True))
        found.append(or_(*texts, func.lower(of.display_name).contains(lower, autoescape=True)))
    if wanted.min_examples:
        found.append(of.examples >= wanted.min_examples)
    return found


def as_npc(row: RowMapping) -> NpcRow:
    """An NPC from a row of its table."""
    return NpcRow(**{field: row[field] for field in NpcRow._fields} | {"seed": int(row["seed"])})
