"""The table of revisions, and how one is committed: each function works inside a transaction of the store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, func, insert, select

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import blobs, demonstrations, npcs, schema
from npcmeta_server.store.requests import remember, repeated, same_life
from npcmeta_server.store.rows import CommitRequest, Committed, NpcRow, RequestKey, RevisionRow

_ACTING = (schema.revisions.c.npc == schema.npcs.c.id) & (schema.revisions.c.number == schema.npcs.c.revision)
# Statements that every adaptation needs are made once: making one takes longer than carrying it out.
_IS = (schema.revisions.c.npc == bindparam("of")) & (schema.revisions.c.number == bindparam("numbered"))
_FIND = select(*(schema.revisions.c[name] for name in RevisionRow._fields)).where(_IS)
_LAST = select(func.max(schema.revisions.c.number)).where(schema.revisions.c.npc == bindparam("of"))
_DATA = select(schema.blobs.c.data).join(schema.revisions).where(_IS)
_SOURCES = select(schema.sources.c.demonstration).join(schema.revisions).where(_IS)
_INSERT, _INSERT_SOURCES = insert(schema.revisions), insert(schema.sources)


def find(connection: Connection, npc: str, number: int) -> RevisionRow:
    """A revision, or REVISION_NOT_FOUND."""
    npcs.find(connection, npc)
    if (row := _find(connection, npc, number)) is None:
        name = f"npcs/{npc}/revisions/{number}"
        raise ServiceError("REVISION_NOT_FOUND", f"there is no {name}; list those that there are", npc=npc)
    return row


def state(connection: Connection, npc: str, number: int | None = None) -> tuple[NpcRow, RevisionRow, bytes]:
    """An NPC, a revision of it (the one that acts, if none is named), and its state."""
    row = npcs.find(connection, npc)
    revision = find(connection, npc, row.revision if number is None else number)
    data: bytes = connection.execute(_DATA, _is(npc, revision.number)).scalar_one()
    return row, revision, data


def roll_back(connection: Connection, npc: str, number: int, etag: str, request: RequestKey) -> NpcRow:
    """Lets an NPC point at another of its revisions, unless the first try of this request did; only with this etag."""
    if (before := npcs.changed(connection, npc, request)) is not None:
        return before
    row, revision = npcs.expect(connection, npc, etag), find(connection, npc, number)
    return npcs.change(connection, row, request, revision=number, examples=revision.examples)


def states(connection: Connection, wanted: Sequence[str]) -> dict[str, tuple[NpcRow, RevisionRow, bytes]]:
    """NPCs, the revision that acts of each, and its state; those that there are."""
    columns: list[Any] = [schema.npcs, *(c.label(f"acting_{c.name}") for c in schema.revisions.c), schema.blobs.c.data]
    joined = schema.npcs.join(schema.revisions, _ACTING).join(schema.blobs)
    rows = connection.execute(select(*columns).select_from(joined).where(schema.npcs.c.id.in_(wanted))).mappings()
    return {row["id"]: (npcs.as_npc(row), as_revision(row, "acting_"), row["data"]) for row in rows}


def acting(connection: Connection, wanted: Sequence[str]) -> dict[str, float]:
    """When the revision was made that acts, which tells it from all others of its NPC; of those that there are."""
    query = select(schema.npcs.c.id, schema.revisions.c.create_time).select_from(
        schema.npcs.join(schema.revisions, _ACTING)
    )
    return {row.id: row.create_time for row in connection.execute(query.where(schema.npcs.c.id.in_(wanted)))}


def page(connection: Connection, npc: str, before: int, limit: int) -> list[RevisionRow]:
    """An NPC's revisions, newest first, those with a number below `before`."""
    npcs.find(connection, npc)
    columns = [schema.revisions.c[name] for name in RevisionRow._fields]
    at = (schema.revisions.c.npc == npc) & (schema.revisions.c.number < before)
    query = select(*columns).where(at).order_by(schema.revisions.c.number.desc()).limit(limit)
    return [as_revision(row) for row in connection.execute(query).mappings()]


def support(connection: Connection, npc: str) -> list[bytes]:
    """The clips that the acting revision was adapted from and that still exist, oldest first."""
    return [data for data, _ in clips(connection, npc, npcs.find(connection, npc).revision)]


def clips(connection: Connection, npc: str, number: int) -> list[tuple[bytes, int]]:
    """Data and number of examples of the clips that a revision was adapted from and that still exist, oldest first."""
    table = schema.demonstrations
    behind = table.join(schema.sources).join(schema.revisions, schema.sources.c.revision == schema.revisions.c.key)
    joined = behind.join(schema.blobs, schema.blobs.c.key == table.c.blob)
    query = select(schema.blobs.c.data, table.c.examples).select_from(joined).where(_IS).order_by(table.c.key)
    return [(data, count) for data, count in connection.execute(query, _is(npc, number))]


def before_adapting(
    connection: Connection, npc: str, request: RequestKey, *, from_scratch: bool
) -> Committed | tuple[NpcRow, RevisionRow, list[bytes]]:
    """An NPC, the revision that acts and the clips behind it, unless the NPC is to start afresh.

    Or what a commit under this request id gave, if there was one.
    """
    if (before := committed(connection, npc, request)) is not None:
        return before
    row = npcs.find(connection, npc)
    acting = _find(connection, npc, row.revision)
    assert acting is not None
    known = [] if from_scratch else [data for data, _ in clips(connection, npc, row.revision)]
    return row, acting, known


def commit(connection: Connection, wanted: CommitRequest, request: RequestKey) -> Committed:
    """Writes a revision, its new clips and the NPC's pointer."""
    if (before := committed(connection, wanted.npc, request)) is not None:
        return before
    npc = npcs.find(connection, wanted.npc)
    if npc.etag != wanted.expected_etag:
        raise ServiceError("ETAG_MISMATCH", f"npcs/{npc.id} was changed meanwhile; adapt it again")
    known = _stored_sources(connection, npc, wanted)
    made = [demonstrations.write(connection, npc.id, data, count) for data, count in wanted.clips]
    revision = _write(connection, npc, wanted, [*known, *(key for _, key in made)])
    late = [demonstrations.write(connection, npc.id, data, count)[0].id for data, count in wanted.late_clips]
    ids = [*(row.id for row, _ in made), *late]
    left_out = [*wanted.late_demonstrations, *((npc.id, each) for each in late)]
    made_it = {"number": revision.number, "create_time": revision.create_time, "demonstrations": ids}
    remember(connection, request, made_it | {"left_out": left_out})
    return Committed(revision, ids, left_out)


def commit_new(connection: Connection, wanted: CommitRequest, request: RequestKey) -> tuple[Committed, bool]:
    """Commits a revision; returns what was written, and whether it is new.

    A retry may come behind later commits: what its first try made is told, and is not new.
    """
    before = committed(connection, wanted.npc, request)
    return before or commit(connection, wanted, request), before is None


def commit_each(
    connection: Connection, commits: Sequence[tuple[CommitRequest, RequestKey]]
) -> list[tuple[Committed, bool] | ServiceError]:
    """The same for some revisions one after another, each whole or not at all; or why one was refused."""
    ends: list[tuple[Committed, bool] | ServiceError] = []
    for wanted, request in commits:
        try:
            with connection.begin_nested():
                ends.append(commit_new(connection, wanted, request))
        except ServiceError as error:
            ends.append(error)
    return ends


def committed(connection: Connection, npc: str, request: RequestKey) -> Committed | None:
    """What a commit under this request id gave, if there was one."""
    if (before := repeated(connection, request)) is None:
        return None
    revision = same_life(_find(connection, npc, before["number"]), before)
    left_out = [(owner, clip) for owner, clip in before.get("left_out", [])]
    return Committed(revision, before["demonstrations"], left_out)


def as_revision(row: RowMapping, prefix: str = "") -> RevisionRow:
    """A revision from a row that holds its columns under `prefix`."""
    return RevisionRow(**{field: row[prefix + field] for field in RevisionRow._fields})


def _find(connection: Connection, npc: str, number: int) -> RevisionRow | None:
    row = connection.execute(_FIND, _is(npc, number)).mappings().first()
    return None if row is None else as_revision(row)


def _last_number(connection: Connection, npc: str) -> int:
    """The highest number of an NPC's revisions; the one that acts may be lower."""
    number: int = connection.execute(_LAST, {"of": npc}).scalar_one()
    return number


def _stored_sources(connection: Connection, npc: NpcRow, wanted: CommitRequest) -> list[int]:
    """Keys of the stored clips that a revision is made of: those behind the acting one, and those that are named."""
    keys: dict[int, None] = {}
    if not wanted.from_scratch:
        keys = dict.fromkeys(connection.execute(_SOURCES, _is(npc.id, npc.revision)).scalars())
    for pair in wanted.demonstrations:
        _, key = demonstrations.find(connection, *pair)
        if key in keys:  # counted twice now, it would be counted once by the next adaptation
            raise ServiceError(
                "INVALID_ARGUMENT",
                f"npcs/{'/demonstrations/'.join(pair)} is among the examples of npcs/{npc.id} already, nothing was "
                "changed; name a demonstration once, or adapt from_scratch",
                field="demonstration",
            )
        keys[key] = None
    return list(keys)


def _write(connection: Connection, npc: NpcRow, wanted: CommitRequest, sources: list[int]) -> RevisionRow:
    """Writes a revision made of the clips with these keys, and lets the NPC point at it."""
    number = _last_number(connection, npc.id) + 1
    row = RevisionRow(
        npc.id, number, npc.archetype, wanted.archetype_revision, wanted.examples, wanted.support_nll, time.time(),
    )  # fmt: skip
    blob = blobs.put(connection, wanted.state)
    result = connection.execute(_INSERT, {**row._asdict(), "blob": blob})
    if sources:
        key = schema.inserted(result)
        connection.execute(_INSERT_SOURCES, [{"revision": key, "demonstration": source} for source in sources])
    moved = {"revision": row.number, "examples": row.examples, "update_time": row.create_time}
    npcs.write(connection, npc, **moved)
    return row


def _is(npc: str, number: int) -> dict[str, Any]:
    """What `_IS` asks for."""
    return {"of": npc, "numbered": number}
