"""The table of demonstrations: each function works inside a transaction of the store."""

from __future__ import annotations

import secrets
import time
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import blobs, npcs, schema
from npcmeta_server.store.requests import remember, repeated
from npcmeta_server.store.rows import DemonstrationRow, RequestKey

_INSERT = insert(schema.demonstrations)


def find(connection: Connection, npc: str, demonstration: str) -> tuple[DemonstrationRow, int]:
    """A clip and its key, or DEMONSTRATION_NOT_FOUND."""
    table = schema.demonstrations
    columns = [table.c[name] for name in (*DemonstrationRow._fields, "key")]
    row = connection.execute(select(*columns).where(_is(npc, demonstration))).first()
    if row is None:
        name = f"npcs/{npc}/demonstrations/{demonstration}"
        raise ServiceError("DEMONSTRATION_NOT_FOUND", f"there is no {name}", npc=npc, demonstration=demonstration)
    *fields, key = row
    return DemonstrationRow(*fields), key


def page(connection: Connection, npc: str, after: str, limit: int) -> list[DemonstrationRow]:
    """An NPC's clips in order of id, those behind `after`."""
    npcs.find(connection, npc)
    table = schema.demonstrations
    columns = [table.c[name] for name in DemonstrationRow._fields]
    query = select(*columns).where((table.c.npc == npc) & (table.c.id > after)).order_by(table.c.id).limit(limit)
    return [DemonstrationRow(**row) for row in connection.execute(query).mappings()]


def data(connection: Connection, npc: str, demonstration: str) -> bytes:
    """The data of a clip, or DEMONSTRATION_NOT_FOUND."""
    find(connection, npc, demonstration)
    query = select(schema.blobs.c.data).join(schema.demonstrations).where(_is(npc, demonstration))
    found: bytes = connection.execute(query).scalar_one()
    return found


def create(connection: Connection, npc: str, content: bytes, examples: int, request: RequestKey) -> DemonstrationRow:
    """Writes a clip, or finds the one that the first try of this request wrote."""
    npcs.find(connection, npc)
    if (before := repeated(connection, request)) is not None:
        return find(connection, npc, before["demonstration"])[0]
    row, _ = write(connection, npc, content, examples)
    remember(connection, request, {"demonstration": row.id})
    return row


def write(connection: Connection, npc: str, content: bytes, examples: int) -> tuple[DemonstrationRow, int]:
    """Writes a clip; returns its row and its key."""
    # Ids that begin with the time sort by age, whatever made them.
    row = DemonstrationRow(npc, f"{time.time_ns():x}-{secrets.token_hex(3)}", examples, time.time())
    blob = blobs.put(connection, content)
    result = connection.execute(_INSERT, {**row._asdict(), "blob": blob})
    return row, schema.inserted(result)


def remove(connection: Connection, npc: str, demonstration: str, request: RequestKey) -> None:
    """Deletes a clip, unless the first try of this request did; revisions adapted from it stay."""
    if repeated(connection, request) is not None:
        return
    remember(connection, request, {})
    find(connection, npc, demonstration)
    keys = blobs.used(connection, select(schema.demonstrations.c.blob).where(_is(npc, demonstration)))
    connection.execute(delete(schema.demonstrations).where(_is(npc, demonstration)))
    blobs.sweep(connection, keys)


def _is(npc: str, demonstration: str) -> Any:
    return (schema.demonstrations.c.npc == npc) & (schema.demonstrations.c.id == demonstration)
