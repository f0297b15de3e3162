"""Upgrades under way: a task for each, some NPCs at a time, behind the players; a restart goes on where it was."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from npcmeta_server import metrics
from npcmeta_server.adapting.pool import AdaptationPool
from npcmeta_server.catalog import Hosted
from npcmeta_server.errors import ServiceError
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.roster import Roster
from npcmeta_server.store import Store, upgrades
from npcmeta_server.store.upgrades import CANCELLED, DONE, UpgradeRow
from npcmeta_server.upgrading.mover import Mover

log = logging.getLogger(__name__)

AT_A_TIME = 8
"""NPCs that are moved together: a player's adaptation waits for no more than theirs."""
MOST_WAITING_SECONDS = 2.0
"""How long players whose adaptations wait can hold up the next few NPCs; else a busy server would never be upgraded."""
RESTING_SECONDS = 1.0
"""After some NPCs as much time is left to others as they took, up to this."""
TROUBLE_SECONDS = 5.0
"""How long to wait when the store cannot be written."""
STOPPING_SECONDS = 3.0
"""How long NPCs that are being moved have when the server stops."""

Load = Callable[[str, str], Awaitable[Hosted]]
"""Takes an archetype and a revision of it that is kept; lets that act if it does not yet."""


class Upgrader:
    """Carries upgrades out. Belongs to the event loop."""

    def __init__(self, roster: Roster, store: Store, storage: OwnerThread, pool: AdaptationPool, load: Load) -> None:
        """Begins with nothing to do."""
        self._store, self._storage, self._pool, self._load = store, storage, pool, load
        self._mover = Mover(roster, store, storage, pool)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def resume(self) -> None:
        """Goes on with what was under way when the server stopped."""
        for row in await self._storage.run(self._store.do, upgrades.running):
            self.go(row)

    def go(self, row: UpgradeRow) -> None:
        """Carries an upgrade out in the background."""
        task = asyncio.create_task(self._carry_out(row))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stops behind the NPCs that are being moved; the next start goes on."""
        self._stopping = True
        tasks = list(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=STOPPING_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry_out(self, row: UpgradeRow) -> None:
        name = f"archetypes/{row.archetype}/upgrades/{row.id}"
        log.info("%s: %d NPCs to revision %s", name, row.total, row.revision[:12])
        while True:
            try:
                await self._go_on(row, name)
                return
            except ServiceError as error:
                if error.reason == "SHUTTING_DOWN":
                    return
                log.warning("%s waits: %s", name, error.message)
            except Exception:
                log.exception("%s stopped; the next start of the server goes on with it", name)
                return
            await asyncio.sleep(TROUBLE_SECONDS)

    async def _go_on(self, row: UpgradeRow, name: str) -> None:
        """Moves those who are left; raises STORE_UNAVAILABLE or SHUTTING_DOWN if that has to wait."""
        current = await self._storage.run(self._store.do, upgrades.still_running, row)
        target = await self._target(row, name) if current else None
        while target is not None and current is not None and not self._stopping:
            npcs = await self._storage.run(self._store.do, upgrades.members, current, AT_A_TIME)
            if not npcs:
                await self._end(row, DONE)
                return
            await self._let_players_go_first()
            began = time.monotonic()
            found = await asyncio.gather(*(self._mover.move(current, target, npc) for npc in npcs))
            current = await self._storage.run(self._store.do, upgrades.record, current, npcs[-1], found)
            for outcome in found:
                metrics.UPGRADED.labels(row.archetype, outcome.result).inc()
            await asyncio.sleep(min(RESTING_SECONDS, time.monotonic() - began))

    async def _target(self, row: UpgradeRow, name: str) -> Hosted | None:
        """The revision to move to; if it cannot act here, the upgrade ends."""
        try:
            return await self._load(row.archetype, row.revision)
        except ServiceError as error:
            if error.reason == "STORE_UNAVAILABLE":
                raise
            log.error("%s ends: %s", name, error.message)
            await self._end(row, CANCELLED)
            return None

    async def _end(self, row: UpgradeRow, state: str) -> None:
        await self._storage.run(self._store.do, upgrades.end, row.archetype, row.id, state)

    async def _let_players_go_first(self) -> None:
        deadline = time.monotonic() + MOST_WAITING_SECONDS
        while self._pool.waiting and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
