"""Retiring archetypes: refused while NPCs act with them, whoever makes some at that moment."""

from __future__ import annotations

from sqlalchemy import Connection, text

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import archetypes, upgrades
from npcmeta_server.store.requests import remember, repeated
from npcmeta_server.store.rows import RequestKey


def retire(connection: Connection, name: str, revision: str, request: RequestKey) -> None:
    """Offers an archetype no more, or if one is named only a revision of it, unless the first try of this request did.

    Raises:
        ServiceError: ARCHETYPE_IN_USE, saying what acts with it.
    """
    _hold_back_new_npcs(connection)
    if repeated(connection, request) is not None:
        return
    counts = archetypes.counts(connection, name).get(name, {})
    acting = counts.get(revision, 0) if revision else sum(counts.values())
    moving = [row for row in upgrades.running(connection) if row.archetype == name]
    if moving and (not revision or moving[0].revision == revision):
        raise in_use(name, revision, f"upgrades/{moving[0].id} moves NPCs to it: cancel that")
    if acting:
        raise in_use(name, revision, f"{acting} NPCs act with it: move them to another revision, or delete them")
    if not revision:
        archetypes.make_current(connection, name, "")
    remember(connection, request, {})


def in_use(name: str, revision: str, why: str) -> ServiceError:
    """Says what acts with what was to be retired."""
    what = f"revision {revision[:12]} of archetypes/{name}" if revision else f"archetypes/{name}"
    return ServiceError("ARCHETYPE_IN_USE", f"{what} cannot be retired, {why}", archetype=name)


def _hold_back_new_npcs(connection: Connection) -> None:
    """Waits for NPCs that other servers are making, and lets them make none until this transaction has ended.

    It has to be the first that the transaction does: what it sees from then on is as of its first look at a table.
    """
    if connection.dialect.name == "postgresql":  # a file of SQLite has one server, and that one thread
        connection.execute(text("lock table archetypes in exclusive mode"))
