"""Requests that may be sent again: what the first try of each gave."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from sqlalchemy import Connection, insert, select

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import schema
from npcmeta_server.store.rows import NpcRow, RequestKey, RevisionRow

R = TypeVar("R", NpcRow, RevisionRow)


def repeated(connection: Connection, request: RequestKey) -> dict[str, Any] | None:
    """What the first try of this request gave."""
    if not request.id:
        return None
    query = select(schema.requests).where(schema.requests.c.id == request.id)
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    if row["digest"] != request.digest:
        raise ServiceError(
            "REQUEST_ID_REUSED", "this request_id was used for another request; choose a fresh one for each request"
        )
    result: dict[str, Any] = json.loads(row["result"])
    return result


def same_life(found: R | None, before: dict[str, Any]) -> R:
    """What a first try made, if it is that and not what a later NPC of the same name has in its place."""
    if found is None or found.create_time != before["create_time"]:
        raise ServiceError("NPC_NOT_FOUND", "what the first request of this request_id made was deleted since then")
    return found


def remember(connection: Connection, request: RequestKey, result: dict[str, Any]) -> None:
    """Keeps what a request gave, for when it comes again."""
    if request.id:
        values = {"id": request.id, "digest": request.digest, "result": json.dumps(result)}
        connection.execute(insert(schema.requests).values(**values))
