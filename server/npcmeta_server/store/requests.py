"""Requests that may be sent again: what the first try of each gave."""

from __future__ import annotations

import json
import time
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, insert, select

from npcmeta_server.errors import ServiceError
from npcmeta_server.limits import MAX_REQUESTS, REQUEST_SECONDS
from npcmeta_server.store import schema
from npcmeta_server.store.rows import NpcRow, RequestKey, RevisionRow

FORGET_EVERY = 64
"""Requests are forgotten whenever as many came again."""
R = TypeVar("R", NpcRow, RevisionRow)


def repeated(connection: Connection, request: RequestKey) -> dict[str, Any] | None:
    """What the first try of this request gave, if it is not forgotten yet."""
    if not request.id:
        return None
    table = schema.requests.c
    known = (table.id == request.id) & (table.create_time >= time.time() - REQUEST_SECONDS)
    row = connection.execute(select(table.digest, table.result).where(known)).first()
    if row is None:
        return None
    if row.digest != request.digest:
        raise ServiceError(
            "REQUEST_ID_REUSED", "this request_id was used for another request; choose a fresh one for each request"
        )
    result: dict[str, Any] = json.loads(row.result)
    return result


def same_life(found: R | None, before: dict[str, Any]) -> R:
    """What a first try made, if it is that and not what a later NPC of the same name has in its place."""
    if found is None or found.create_time != before["create_time"]:
        raise ServiceError("NPC_NOT_FOUND", "what the first request of this request_id made was deleted since then")
    return found


def remember(connection: Connection, request: RequestKey, result: dict[str, Any]) -> None:
    """Keeps what a request gave, for when it comes again, and forgets some that are too old for that."""
    if not request.id:
        return
    table, now = schema.requests, time.time()
    old = (table.c.id == request.id) & (table.c.create_time < now - REQUEST_SECONDS)
    connection.execute(delete(table).where(old))
    values = {"id": request.id, "digest": request.digest, "result": json.dumps(result), "create_time": now}
    key = schema.inserted(connection.execute(insert(table).values(**values)))
    if key % FORGET_EVERY == 0:
        _forget(connection, key, now - REQUEST_SECONDS)


def _forget(connection: Connection, newest: int, before: float) -> None:
    """Deletes the oldest requests, a few at a time so that nobody waits for it."""
    table = schema.requests
    oldest = select(table.c.key).order_by(table.c.key).limit(2 * FORGET_EVERY).subquery()
    gone = (table.c.create_time < before) | (table.c.key <= newest - MAX_REQUESTS)
    connection.execute(delete(table).where(table.c.key.in_(select(oldest.c.key)), gone))
