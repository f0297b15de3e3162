"""Single statements of the store: each runs inside a transaction of `sql`."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, RowMapping, insert, select, update

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import schema
from npcmeta_server.store.rows import CommitRequest, DemonstrationRow, NpcRow, RequestKey, RevisionRow

R = TypeVar("R", NpcRow, RevisionRow)


def new_etag() -> str:
    """A fresh etag."""
    return secrets.token_hex(8)


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


def same_life(found: R, before: dict[str, Any]) -> R:
    """What a first try made, if it is that and not what a later NPC of the same name has in its place."""
    if found.create_time != before["create_time"]:
        raise ServiceError("NPC_NOT_FOUND", "what the first request of this request_id made was deleted since then")
    return found


def remember(connection: Connection, request: RequestKey, result: dict[str, Any]) -> None:
    """Keeps what a request gave, for when it comes again."""
    if request.id:
        values = {"id": request.id, "digest": request.digest, "result": json.dumps(result)}
        connection.execute(insert(schema.requests).values(**values))


def insert_demonstration(connection: Connection, npc: str, data: bytes, examples: int) -> tuple[DemonstrationRow, int]:
    """Writes a clip; returns its row and its key."""
    # Ids that begin with the time sort by age, whatever made them.
    row = DemonstrationRow(npc, f"{time.time_ns():x}-{secrets.token_hex(3)}", examples, time.time())
    result = connection.execute(insert(schema.demonstrations).values(**row._asdict(), data=data))
    return row, inserted(result)


def inserted(result: CursorResult[Any]) -> int:
    """The key of the row that was inserted."""
    assert result.inserted_primary_key is not None
    key: int = result.inserted_primary_key[0]
    return key


def insert_revision(connection: Connection, npc: NpcRow, wanted: CommitRequest, sources: list[int]) -> RevisionRow:
    """Writes a revision made of the clips with these keys, and lets the NPC point at it."""
    row = RevisionRow(
        npc.id, npc.revision + 1, npc.archetype, wanted.archetype_revision, wanted.examples, wanted.support_nll,
        time.time(),
    )  # fmt: skip
    key = inserted(connection.execute(insert(schema.revisions).values(**row._asdict(), state=wanted.state)))
    if sources:
        links = [{"revision": key, "demonstration": source} for source in sources]
        connection.execute(insert(schema.sources), links)
    moved = {"revision": row.number, "examples": row.examples, "update_time": row.create_time, "etag": new_etag()}
    connection.execute(update(schema.npcs).where(schema.npcs.c.id == npc.id).values(**moved))
    return row


def source_keys(connection: Connection, npc: str, number: int) -> list[int]:
    """Keys of the clips that a revision was made of."""
    at = (schema.revisions.c.npc == npc) & (schema.revisions.c.number == number)
    query = select(schema.sources.c.demonstration).join(schema.revisions).where(at)
    return list(connection.execute(query).scalars())


def is_demonstration(npc: str, demonstration: str) -> Any:
    """The condition that a row is this clip."""
    return (schema.demonstrations.c.npc == npc) & (schema.demonstrations.c.id == demonstration)


def npc_row(row: RowMapping) -> NpcRow:
    """An NPC from a row of its table."""
    return NpcRow(**{field: row[field] for field in NpcRow._fields} | {"seed": int(row["seed"])})


def revision_row(row: RowMapping, prefix: str = "") -> RevisionRow:
    """A revision from a row that holds its columns under `prefix`."""
    return RevisionRow(**{field: row[prefix + field] for field in RevisionRow._fields})
