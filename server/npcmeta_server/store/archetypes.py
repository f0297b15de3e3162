"""Archetype files, kept for as long as an NPC may need one; each function is part of a transaction."""

from __future__ import annotations

import time
from typing import NamedTuple

from sqlalchemy import Column, Connection, Float, LargeBinary, String, Table, func, insert, select, update

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import schema
from npcmeta_server.store.requests import remember, repeated
from npcmeta_server.store.rows import RequestKey

archetypes = Table(
    "archetypes",
    schema.metadata,
    Column("name", schema.Id, primary_key=True),
    Column("current", String(64), nullable=False),
    Column("in_folder", String(64), nullable=False),
)

archetype_revisions = Table(
    "archetype_revisions",
    schema.metadata,
    Column("revision", String(64), primary_key=True),
    Column("name", schema.Id, nullable=False, index=True),
    Column("create_time", Float, nullable=False),
    Column("data", LargeBinary, nullable=False),
)


class ArchetypeRow(NamedTuple):
    """An archetype that was offered once."""

    name: str
    current: str  # the revision that new NPCs get; empty: it was retired
    in_folder: str  # the revision of the file that was last taken from the server's folder; empty: it was uploaded


class ArchetypeRevisionRow(NamedTuple):
    """A revision that is kept, without its file."""

    revision: str
    name: str
    create_time: float


def everything(connection: Connection) -> dict[str, ArchetypeRow]:
    """All archetypes, by name."""
    return {row["name"]: ArchetypeRow(**row) for row in connection.execute(select(archetypes)).mappings()}


def current(connection: Connection, name: str) -> str | None:
    """The revision that new NPCs of an archetype get; empty: it was retired; None: it is not in the store."""
    query = select(archetypes.c.current).where(archetypes.c.name == name)
    found: str | None = connection.execute(query).scalar()
    return found


def check_offered(connection: Connection, name: str, revision: str = "") -> None:
    """Refuses to make an NPC of an archetype that was retired, or with a revision that is not the current one any more.

    Nobody retires the archetype before the transaction has ended, and the NPC is there.
    """
    query = select(archetypes.c.current).where(archetypes.c.name == name).with_for_update(read=True)
    found: str | None = connection.execute(query).scalar()
    if found == "":
        message = f"archetypes/{name} was retired; upload it again to offer it"
        raise ServiceError("ARCHETYPE_NOT_FOUND", message, archetype=name)
    if revision and found not in (None, revision):
        raise ServiceError(
            "REVISION_UNAVAILABLE",
            f"another server made revision {found[:12]} of archetypes/{name} current, which is not loaded here; "
            "try again, or upload it here",
            archetype=name,
            archetype_revision=found,
        )


def kept(connection: Connection, name: str) -> list[ArchetypeRevisionRow]:
    """The revisions of an archetype, newest first."""
    columns = [archetype_revisions.c[field] for field in ArchetypeRevisionRow._fields]
    query = select(*columns).where(archetype_revisions.c.name == name)
    newest = query.order_by(archetype_revisions.c.create_time.desc(), archetype_revisions.c.revision)
    return [ArchetypeRevisionRow(**row) for row in connection.execute(newest).mappings()]


def data(connection: Connection, revision: str) -> bytes | None:
    """The file of a revision, if it is kept."""
    query = select(archetype_revisions.c.data).where(archetype_revisions.c.revision == revision)
    found: bytes | None = connection.execute(query).scalar()
    return found


def keep(
    connection: Connection,
    name: str,
    revision: str,
    content: bytes,
    *,
    current: bool,
    from_folder: bool = False,
    request: RequestKey,
) -> bool:
    """Keeps a revision; gives it to new NPCs if it is to be the current one, or if there is none.

    Returns whether it did, and not the first try of this request.
    """
    if repeated(connection, request) is not None:
        return False
    if data(connection, revision) is None:
        values = {"revision": revision, "name": name, "create_time": _next_time(connection, name), "data": content}
        connection.execute(insert(archetype_revisions).values(**values))
    before = everything(connection).get(name)
    if before is None:
        connection.execute(insert(archetypes).values(name=name, current=revision, in_folder=""))
    elif current or not before.current:
        make_current(connection, name, revision)
    if from_folder:
        connection.execute(update(archetypes).where(archetypes.c.name == name).values(in_folder=revision))
    remember(connection, request, {"revision": revision})
    return True


def _next_time(connection: Connection, name: str) -> float:
    """Now, or just behind the newest revision if the clock was set back since: which is the newest stays true."""
    query = select(func.max(archetype_revisions.c.create_time)).where(archetype_revisions.c.name == name)
    newest: float | None = connection.execute(query).scalar()
    return time.time() if newest is None else max(time.time(), newest + 1e-3)


def make_current(connection: Connection, name: str, revision: str) -> None:
    """Gives a revision that is kept to new NPCs; an empty one retires the archetype."""
    connection.execute(update(archetypes).where(archetypes.c.name == name).values(current=revision))


def forget(connection: Connection, name: str, revision: str, request: RequestKey) -> None:
    """Takes back a revision that could not be made to act, and that nobody has used."""
    connection.execute(schema.requests.delete().where(schema.requests.c.id == request.id))
    connection.execute(archetype_revisions.delete().where(archetype_revisions.c.revision == revision))
    alone = (archetypes.c.name == name) & (archetypes.c.current == revision)
    connection.execute(archetypes.delete().where(alone))


def counts(connection: Connection, name: str = "") -> dict[str, dict[str, int]]:
    """How many NPCs act with each revision of each archetype, or of one; about two seconds for a million NPCs."""
    acting = (schema.revisions.c.npc == schema.npcs.c.id) & (schema.revisions.c.number == schema.npcs.c.revision)
    columns = (schema.npcs.c.archetype, schema.revisions.c.archetype_revision)
    query = select(*columns, func.count()).select_from(schema.npcs.join(schema.revisions, acting)).group_by(*columns)
    if name:
        query = query.where(schema.npcs.c.archetype == name)
    found: dict[str, dict[str, int]] = {}
    for archetype, revision, count in connection.execute(query):
        found.setdefault(archetype, {})[revision] = count
    return found
