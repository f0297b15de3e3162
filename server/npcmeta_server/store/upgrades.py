"""Upgrades: who moves to which archetype revision, how far it got, who stayed; functions are parts of a transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Integer,
    String,
    Table,
    func,
    insert,
    select,
    update,
)

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import archetypes, schema
from npcmeta_server.store.requests import remember, repeated
from npcmeta_server.store.rows import RequestKey

RUNNING, DONE, CANCELLED = "running", "done", "cancelled"
MOVED, KEPT, FAILED, SKIPPED = "moved", "kept", "failed", "skipped"

upgrades = Table(
    "upgrades",
    schema.metadata,
    Column("id", schema.Id, primary_key=True),
    Column("archetype", schema.Id, nullable=False, index=True),
    Column("revision", String(64), nullable=False),
    Column("npcs", String, nullable=False),
    Column("tolerance", Float, nullable=False),
    Column("unchecked", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    Column("total", Integer, nullable=False),
    Column("cursor", schema.Id, nullable=False),
    Column("moved", Integer, nullable=False),
    Column("kept", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("create_time", Float, nullable=False),
    Column("end_time", Float, nullable=False),
)

outcomes = Table(
    "upgrade_outcomes",
    schema.metadata,
    Column("upgrade", ForeignKey("upgrades.id", ondelete="CASCADE"), primary_key=True),
    Column("npc", schema.Id, primary_key=True),
    Column("result", String(16), nullable=False),
    Column("reason", String, nullable=False),
    Column("nll_before", Float, nullable=False),
    Column("nll_after", Float, nullable=False),
)


class UpgradeRow(NamedTuple):
    """An upgrade. Times are seconds since 1970."""

    id: str
    archetype: str
    revision: str  # to which NPCs move
    npcs: str  # a JSON list of those that were named, in order; empty: all
    tolerance: float  # nats per decision
    unchecked: bool
    state: str
    total: int
    cursor: str  # the last NPC that was looked at
    moved: int
    kept: int
    failed: int
    create_time: float
    end_time: float  # 0 while it runs


class Outcome(NamedTuple):
    """What became of one NPC."""

    npc: str
    result: str
    reason: str = ""
    nll_before: float = 0.0
    nll_after: float = 0.0


def begun(connection: Connection, archetype: str, request: RequestKey) -> UpgradeRow | None:
    """The upgrade that the first try of this request began."""
    before = repeated(connection, request)
    return None if before is None else find(connection, archetype, before["upgrade"])


def begin(connection: Connection, wanted: UpgradeRow, request: RequestKey) -> UpgradeRow:
    """Writes a new upgrade, unless the first try of this request did; one of all NPCs makes the revision current."""
    if (before := begun(connection, wanted.archetype, request)) is not None:
        return before
    at = (upgrades.c.archetype == wanted.archetype) & (upgrades.c.state == RUNNING)
    if (other := connection.execute(select(upgrades.c.id).where(at)).scalar()) is not None:
        raise ServiceError(
            "UPGRADE_IN_PROGRESS",
            f"archetypes/{wanted.archetype}/upgrades/{other} is running; wait for its end, or cancel it",
            upgrade=other,
        )
    row = wanted._replace(total=_count(connection, wanted))
    connection.execute(insert(upgrades).values(**row._asdict()))
    if not row.npcs:
        archetypes.make_current(connection, row.archetype, row.revision)
    remember(connection, request, {"upgrade": row.id})
    return row


def find(connection: Connection, archetype: str, upgrade: str) -> UpgradeRow:
    """An upgrade, or UPGRADE_NOT_FOUND."""
    at = (upgrades.c.id == upgrade) & (upgrades.c.archetype == archetype)
    row = connection.execute(select(upgrades).where(at)).mappings().first()
    if row is None:
        name = f"archetypes/{archetype}/upgrades/{upgrade}"
        raise ServiceError("UPGRADE_NOT_FOUND", f"there is no {name}; list the upgrades of archetypes/{archetype}")
    return UpgradeRow(**row)


def page(connection: Connection, archetype: str, before: str, limit: int) -> list[UpgradeRow]:
    """An archetype's upgrades, newest first, those behind `before`."""
    query = select(upgrades).where(upgrades.c.archetype == archetype)
    if before:
        query = query.where(upgrades.c.id < before)
    newest = query.order_by(upgrades.c.id.desc()).limit(limit)
    return [UpgradeRow(**row) for row in connection.execute(newest).mappings()]


def running(connection: Connection) -> list[UpgradeRow]:
    """All upgrades that have not ended."""
    query = select(upgrades).where(upgrades.c.state == RUNNING).order_by(upgrades.c.id)
    return [UpgradeRow(**row) for row in connection.execute(query).mappings()]


def still_running(connection: Connection, row: UpgradeRow) -> UpgradeRow | None:
    """An upgrade as it is by now; None if it has ended."""
    now = find(connection, row.archetype, row.id)
    return now if now.state == RUNNING else None


def members(connection: Connection, row: UpgradeRow, limit: int) -> list[str]:
    """The next NPCs to look at."""
    if row.npcs:
        return [npc for npc in json.loads(row.npcs) if npc > row.cursor][:limit]
    at = (schema.npcs.c.archetype == row.archetype) & (schema.npcs.c.id > row.cursor)
    query = select(schema.npcs.c.id).where(at).order_by(schema.npcs.c.id).limit(limit)
    return list(connection.execute(query).scalars())


def record(connection: Connection, row: UpgradeRow, cursor: str, found: Sequence[Outcome]) -> UpgradeRow | None:
    """Counts what became of some NPCs, up to `cursor`; None if the upgrade ended, or another server went on with it."""
    counts = {result: sum(each.result == result for each in found) for result in (MOVED, KEPT, FAILED)}
    changed = {name: upgrades.c[name] + count for name, count in counts.items()} | {"cursor": cursor}
    at = (upgrades.c.id == row.id) & (upgrades.c.cursor == row.cursor)
    if connection.execute(update(upgrades).where(at).values(**changed)).rowcount != 1:
        return None
    told = [each._asdict() | {"upgrade": row.id} for each in found if each.result in (KEPT, FAILED)]
    if told:
        connection.execute(insert(outcomes), told)
    return still_running(connection, row)


def end(connection: Connection, archetype: str, upgrade: str, state: str) -> UpgradeRow:
    """Ends an upgrade, unless it has ended; returns it."""
    at = (upgrades.c.id == upgrade) & (upgrades.c.archetype == archetype) & (upgrades.c.state == RUNNING)
    connection.execute(update(upgrades).where(at).values(state=state, end_time=time.time()))
    return find(connection, archetype, upgrade)


def told(connection: Connection, upgrade: str, after: str, limit: int) -> list[Outcome]:
    """What became of those who were not moved, in order of NPC, those behind `after`."""
    at = (outcomes.c.upgrade == upgrade) & (outcomes.c.npc > after)
    query = select(*(outcomes.c[name] for name in Outcome._fields)).where(at).order_by(outcomes.c.npc).limit(limit)
    return [Outcome(**row) for row in connection.execute(query).mappings()]


def _count(connection: Connection, row: UpgradeRow) -> int:
    if row.npcs:
        return len(json.loads(row.npcs))
    query = select(func.count()).select_from(schema.npcs).where(schema.npcs.c.archetype == row.archetype)
    return connection.execute(query).scalar_one()
