"""The reserve: archetype revisions that are kept and not loaded, and what other servers of the same store offer."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from npcmeta_server.errors import ServiceError
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.repertoire import Repertoire, unavailable
from npcmeta_server.store import Store, archetypes

log = logging.getLogger(__name__)

R = TypeVar("R")
Load = Callable[[str, str], Awaitable[object]]
"""Takes an archetype and a revision of it; raises ServiceError if that is not kept, or cannot act here."""
LOST_SECONDS = 60.0
"""For how long a revision is not asked for again that could not be loaded: to find that out may take seconds."""


class Reserve:
    """Loads archetype revisions when somebody needs them. Call from the event loop."""

    def __init__(self, repertoire: Repertoire, store: Store, storage: OwnerThread) -> None:
        """Looks at what the store says, on its thread `storage`."""
        self._repertoire, self._store, self._storage = repertoire, store, storage
        self._lost: dict[tuple[str, str], float] = {}  # until when
        self.fetch: Load | None = None
        """Lets a revision act that is kept."""
        self.adopt: Load | None = None
        """Lets new NPCs have a revision that another server made the current one; an empty one: it was retired."""

    async def know(self, npc: str) -> None:
        """Lets the archetype revision of an NPC act, if another server moved the NPC to it."""
        if self._store.shared:
            row, revision, _ = await self._storage.run(self._store.state, npc)
            if self._repertoire.revision(row.archetype, revision.archetype_revision) is None:
                await self.fetched([unavailable(row.archetype, revision.archetype_revision, npc)])

    async def know_revision(self, archetype: str, revision: str) -> None:
        """Lets a revision of an archetype that is offered act, if it is kept and can."""
        await self.follow(archetype)
        if archetype not in self._repertoire or self._repertoire.revision(archetype, revision) is not None:
            return
        try:
            if self.fetch is not None:
                await self.fetch(archetype, revision)
        except ServiceError as error:
            if error.reason == "STORE_UNAVAILABLE":
                raise
            log.info("archetypes/%s, revision %s: %s", archetype, revision[:12], error.message)

    async def with_revision(self, work: Callable[[], Awaitable[R]]) -> R:
        """Does work; if an archetype revision is not loaded that it needs and that is kept, again with that."""
        try:
            return await work()
        except ServiceError as error:
            if not await self.fetched([error]):
                raise
            return await work()

    async def with_current(self, archetype: str, work: Callable[[], Awaitable[R]]) -> R:
        """Makes an NPC; again, if another server changed what new ones get, once that is loaded."""
        try:
            return await work()
        except ServiceError as error:
            if error.reason not in ("ARCHETYPE_NOT_FOUND", "REVISION_UNAVAILABLE"):
                raise
            await self.follow(archetype)
            return await work()

    async def fetched(self, found: Iterable[object]) -> bool:
        """Lets archetype revisions act that errors say are not loaded, if they are kept; says whether some were."""
        wanted = {
            (entry.metadata["archetype"], entry.metadata["archetype_revision"])
            for entry in found
            if isinstance(entry, ServiceError) and entry.reason == "REVISION_UNAVAILABLE"
        }
        return any([await self._tried(self.fetch, *each) for each in sorted(wanted)])

    async def follow(self, archetype: str) -> None:
        """Offers what the store says of an archetype, where another server may have changed it."""
        if self._store.shared:
            await self._follow(archetype, await self._storage.run(self._store.do, archetypes.current, archetype))

    async def follow_all(self) -> None:
        """The same of all archetypes."""
        if self._store.shared:
            for name, row in sorted((await self._storage.run(self._store.do, archetypes.everything)).items()):
                await self._follow(name, row.current)

    async def _follow(self, archetype: str, current: str | None) -> None:
        if current is not None and current != self._repertoire.current_revision(archetype):
            await self._tried(self.adopt, archetype, current)

    async def _tried(self, load: Load | None, archetype: str, revision: str) -> bool:
        """Loads a revision, unless that failed a short while ago; says whether it did."""
        if load is None or time.monotonic() < self._lost.get((archetype, revision), 0.0):
            return False
        try:
            await load(archetype, revision)
        except ServiceError as error:
            log.warning("archetypes/%s, revision %s: %s", archetype, revision[:12], error.message)
            if error.reason != "STORE_UNAVAILABLE":
                self._lost[archetype, revision] = time.monotonic() + LOST_SECONDS
            return False
        return True
