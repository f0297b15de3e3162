"""UpgradeService: NPCs move to another revision of their archetype."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import time

from npcmeta_server import messages, names
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import upgrades_pb2
from npcmeta_server.limits import MAX_UPGRADED
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.roster import Roster
from npcmeta_server.services import paging
from npcmeta_server.services.npcs import request_key
from npcmeta_server.services.uploads import Uploads, no_revision
from npcmeta_server.store import RequestKey, Store, upgrades
from npcmeta_server.store.upgrades import CANCELLED, DONE, FAILED, RUNNING, UpgradeRow
from npcmeta_server.upgrading.upgrader import Upgrader

TOLERANCE = 0.05
"""Nats per decision; a character's own held-out examples are few, and say no more exactly."""

STATES = {
    RUNNING: upgrades_pb2.UPGRADE_RUNNING,
    DONE: upgrades_pb2.UPGRADE_DONE,
    CANCELLED: upgrades_pb2.UPGRADE_CANCELLED,
}


class Upgrades:
    """Answers UpgradeService."""

    def __init__(
        self, roster: Roster, store: Store, storage: OwnerThread, uploads: Uploads, upgrader: Upgrader
    ) -> None:
        """Upgrades are kept in the store, and carried out by the upgrader."""
        self._roster, self._store, self._storage = roster, store, storage
        self._uploads, self._upgrader = uploads, upgrader

    async def upgrade_npcs(self, request: upgrades_pb2.UpgradeNpcsRequest) -> upgrades_pb2.Upgrade:
        """Begins an upgrade."""
        name, key = names.archetype_id(request.archetype, "archetype"), request_key("UpgradeNpcs", request)
        wanted = _wanted(name, request)
        await self._roster.offered(name)
        if (before := await self._storage.run(self._store.do, upgrades.begun, name, key)) is not None:
            return _message(before)
        await self._uploads.load(name, request.revision)
        return _message(await asyncio.shield(self._begin(wanted, key)))

    async def get_upgrade(self, request: upgrades_pb2.GetUpgradeRequest) -> upgrades_pb2.Upgrade:
        """One upgrade."""
        part = names.upgrade(request.name)
        return _message(await self._storage.run(self._store.do, upgrades.find, part.parent, part.id))

    async def list_upgrades(self, request: upgrades_pb2.ListUpgradesRequest) -> upgrades_pb2.ListUpgradesResponse:
        """A page of an archetype's upgrades, newest first."""
        name, size = names.archetype_id(request.parent, "parent"), paging.checked_size(request.page_size)
        rows = await self._storage.run(self._store.do, upgrades.page, name, paging.after(request), size + 1)
        page, more = paging.cut(rows, size)
        return upgrades_pb2.ListUpgradesResponse(
            upgrades=[_message(row) for row in page], next_page_token=paging.token(request, page[-1].id) if more else ""
        )

    async def cancel_upgrade(self, request: upgrades_pb2.CancelUpgradeRequest) -> upgrades_pb2.Upgrade:
        """Ends an upgrade; nobody is moved once this is answered but those whose commits are under way."""
        part = names.upgrade(request.name)
        return _message(await self._storage.run(self._store.do, upgrades.end, part.parent, part.id, CANCELLED))

    async def list_upgrade_outcomes(
        self, request: upgrades_pb2.ListUpgradeOutcomesRequest
    ) -> upgrades_pb2.ListUpgradeOutcomesResponse:
        """A page of those who were not moved."""
        part, size = names.upgrade(request.parent), paging.checked_size(request.page_size)
        row = await self._storage.run(self._store.do, upgrades.find, part.parent, part.id)
        found = await self._storage.run(self._store.do, upgrades.told, row.id, paging.after(request), size + 1)
        page, more = paging.cut(found, size)
        return upgrades_pb2.ListUpgradeOutcomesResponse(
            outcomes=[
                upgrades_pb2.UpgradeOutcome(
                    npc=f"npcs/{each.npc}",
                    failed=each.result == FAILED,
                    reason=each.reason,
                    nll_before=each.nll_before,
                    nll_after=each.nll_after,
                )
                for each in page
            ],
            next_page_token=paging.token(request, page[-1].npc) if more else "",
        )

    async def _begin(self, wanted: UpgradeRow, key: RequestKey) -> UpgradeRow:
        async with self._uploads.changing:
            if self._roster.repertoire.revision(wanted.archetype, wanted.revision) is None:  # retired meanwhile
                raise no_revision(wanted.archetype, wanted.revision)
            row = await self._storage.run(self._store.do, upgrades.begin, wanted, key)
            if row.id != wanted.id:
                return row  # of the first try, which came at the same time
            if not row.npcs:
                self._roster.repertoire.make_current(row.archetype, row.revision)
        self._upgrader.go(row)
        return row


def _wanted(name: str, request: upgrades_pb2.UpgradeNpcsRequest) -> UpgradeRow:
    """The upgrade that a request asks for."""
    tolerance = request.tolerance if request.HasField("tolerance") else TOLERANCE
    if not math.isfinite(tolerance) or tolerance < 0:
        raise ServiceError(
            "INVALID_ARGUMENT", f"tolerance is {tolerance}, expected 0 or more nats per decision", field="tolerance"
        )
    if len(request.npcs) > MAX_UPGRADED:
        raise ServiceError(
            "TOO_MANY",
            f"{len(request.npcs)} npcs, expected at most {MAX_UPGRADED}, or none for all",
            limit=MAX_UPGRADED,
        )
    named = sorted({names.npc_id(npc, "npcs") for npc in request.npcs})
    now = time.time()
    return UpgradeRow(
        f"{time.time_ns():x}-{secrets.token_hex(3)}", name, request.revision, json.dumps(named) if named else "",
        tolerance, request.unchecked, RUNNING, 0, "", 0, 0, 0, now, 0.0,
    )  # fmt: skip


def _message(row: UpgradeRow) -> upgrades_pb2.Upgrade:
    return upgrades_pb2.Upgrade(
        name=f"archetypes/{row.archetype}/upgrades/{row.id}",
        revision=row.revision,
        state=STATES[row.state],
        npcs=row.total,
        moved=row.moved,
        kept=row.kept,
        failed=row.failed,
        tolerance=row.tolerance,
        unchecked=row.unchecked,
        create_time=messages.timestamp(row.create_time),
        end_time=messages.timestamp(row.end_time) if row.end_time else None,
    )
