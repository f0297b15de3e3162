"""The roster: which NPCs act, with which state. Joins the store, where the truth is, and the state banks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence

from npcmeta.types import BehaviorSpec, Params
from npcmeta_server.acting.policy import Decisions, Frame
from npcmeta_server.acting.troupe import Troupe
from npcmeta_server.catalog import Catalog, Hosted
from npcmeta_server.commits import Commits, renew
from npcmeta_server.errors import ServiceError
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.reserve import Reserve
from npcmeta_server.seating import Acting, Resident, resident, seat
from npcmeta_server.store import ONCE, CommitRequest, Committed, NpcRow, RequestKey, Store

log = logging.getLogger(__name__)

AT_A_TIME = 256
"""NPCs that are read from the store in one turn: a cast of thousands must not keep commits waiting."""


class Roster:
    """NPCs ready to act. Loading from the store and committing to it take turns, so that no bank is left behind."""

    def __init__(self, catalog: Catalog, store: Store, storage: OwnerThread, bank_bytes: int) -> None:
        """Makes a bank of at most `bank_bytes` for each archetype; `storage` is the thread that owns the store."""
        self._store, self._storage = store, storage
        self._troupe = Troupe(catalog, bank_bytes)
        self.repertoire = self._troupe.repertoire
        self.reserve = Reserve(self.repertoire, store, storage)
        self._turn = asyncio.Lock()
        self._commits = Commits(store, storage, self._troupe, self._turn)
        self._busy: set[str] = set()
        self.streams = 0
        """How many streams may ask for frames."""

    def hosted(self, archetype: str) -> Hosted:
        """The current revision of an archetype, or ARCHETYPE_NOT_FOUND."""
        return self.repertoire.current(archetype)

    async def offered(self, archetype: str) -> Hosted:
        """The same; an archetype that is unknown here is looked for among those that other servers offer."""
        if archetype not in self.repertoire:
            await self.reserve.follow(archetype)
        return self.hosted(archetype)

    async def host(self, hosted: Hosted) -> None:
        """Lets a further archetype revision act beside those that do; whoever calls must not be cancelled meanwhile.

        Raises:
            ValueError: If the machine cannot promise the memory for its states.
        """
        await self._troupe.add(hosted)

    async def spec(self, archetype: str) -> BehaviorSpec | None:
        """What an archetype sees and decides that is offered, or was and is still in casts; None if there is none."""
        return await self._troupe.spec(archetype)

    async def retire(self, archetype: str, revisions: Sequence[str], write: Callable[[], None]) -> None:
        """Lets archetype revisions act no more, once `write` has written so on the store's thread.

        Raises:
            ServiceError: What `write` raises.
        """
        async with self._turn:
            await self._storage.run(write)
            for revision in revisions:
                await self._troupe.remove(archetype, revision)

    async def act(self, archetype: str, frame: Frame, *, alone: bool = False) -> Decisions:
        """Decides for NPCs that were acquired; `alone` says that the stream asks for nothing else in this tick."""
        return await self._troupe.act(archetype, frame, alone=alone and self.streams == 1)

    async def acquire(self, archetype: str, npcs: Sequence[str]) -> list[Acting | ServiceError]:
        """Makes NPCs of an archetype ready to act, until `release`; for each of them where it is, or why it is not."""
        self.hosted(archetype)
        found: list[Acting | ServiceError] = []
        try:
            for first in range(0, len(npcs), AT_A_TIME):
                found += await self._some(archetype, npcs[first : first + AT_A_TIME])
            if await self.reserve.fetched(found):
                await self._again(archetype, npcs, found)
        except BaseException:
            self.release(archetype, found)
            raise
        return found

    def release(self, archetype: str, found: Sequence[Acting | ServiceError]) -> None:
        """Gives back what `acquire` gave."""
        acting = [entry for entry in found if isinstance(entry, Acting)]
        if acting:
            names, rows = [entry.npc for entry in acting], [entry.row for entry in acting]
            self._troupe.thread.post(self._troupe.ensembles[archetype].bank.release, names, rows)

    async def commit(self, wanted: CommitRequest, request: RequestKey, state: Params) -> Committed:
        """Commits a revision to disk and then lets it act; done to the end even if whoever asked is gone."""
        return await asyncio.shield(self._commits.commit(wanted, request, state))

    async def roll_back(self, npc: str, number: int, etag: str, request: RequestKey) -> NpcRow:
        """Lets a kept revision act again, on disk first; done to the end even if whoever asked is gone."""
        return await self.reserve.with_revision(lambda: asyncio.shield(self._roll_back(npc, number, etag, request)))

    async def delete(self, npc: str, etag: str, request: RequestKey = ONCE) -> None:
        """Deletes an NPC from disk and from the banks; done to the end even if whoever asked is gone."""
        await asyncio.shield(self._delete(npc, etag, request))

    @contextlib.contextmanager
    def alone(self, npc: str) -> Iterator[None]:
        """Holds an NPC for one request that adapts or changes it; a second one gets ADAPT_IN_PROGRESS."""
        if npc in self._busy:
            raise ServiceError(
                "ADAPT_IN_PROGRESS",
                f"another request is adapting or changing npcs/{npc}; try again when it has ended",
                npc=npc,
            )
        self._busy.add(npc)
        try:
            yield
        finally:
            self._busy.remove(npc)

    def close(self) -> None:
        """Waits for the frame under way."""
        self._troupe.close()

    async def _acquire(self, archetype: str, npcs: Sequence[str]) -> list[Acting | ServiceError]:
        async with self._turn:
            self.hosted(archetype)  # it may have been retired meanwhile
            thread, bank = self._troupe.thread, self._troupe.ensembles[archetype].bank
            known = await thread.run(bank.made, npcs)
            read: dict[str, Resident | ServiceError | None] = {}
            if self._store.shared or not known.keys() >= set(npcs):
                read = await self._storage.run(self._read, archetype, npcs, known)
            return await thread.run(seat, bank, npcs, read)

    async def _some(self, archetype: str, npcs: Sequence[str]) -> list[Acting | ServiceError]:
        """Acquires a few, and if whoever asked is gone meanwhile, releases them."""
        task = asyncio.ensure_future(self._acquire(archetype, npcs))
        try:
            return await asyncio.shield(task)
        except BaseException:
            task.add_done_callback(lambda done: self._release_late(archetype, done))
            raise

    async def _again(self, archetype: str, npcs: Sequence[str], found: list[Acting | ServiceError]) -> None:
        """Acquires those anew whose archetype revision was not loaded before."""
        lacking = [at for at, entry in enumerate(found) if isinstance(entry, ServiceError)]
        for at, entry in zip(lacking, await self.acquire(archetype, [npcs[at] for at in lacking]), strict=True):
            found[at] = entry

    async def _roll_back(self, npc: str, number: int, etag: str, request: RequestKey) -> NpcRow:
        async with self._turn:
            if (before := await self._storage.run(self._store.rolled_back, npc, request)) is not None:
                return before
            back = await self._storage.run(self._read_revision, npc, number)
            await self._troupe.check_move(npc, back.revision.archetype_revision)
            changed = await self._storage.run(self._store.roll_back, npc, number, etag, request)
            await self._troupe.thread.run(renew, self._troupe, [(back.revision, back.state)])
            return changed

    def _read_revision(self, npc: str, number: int) -> Resident:
        """A kept revision that can act here, on the store's thread; raises ServiceError if there is none."""
        row, revision, data = self._store.state(npc, number)
        return resident(self.repertoire, row.archetype, row, revision, data)

    async def _delete(self, npc: str, etag: str, request: RequestKey) -> None:
        async with self._turn:
            if await self._storage.run(self._store.delete_npc, npc, etag, request):
                await self._troupe.forget(npc)

    def _release_late(self, archetype: str, done: asyncio.Future[list[Acting | ServiceError]]) -> None:
        """Gives back what was acquired for somebody who was gone by then."""
        if not done.cancelled() and done.exception() is None:
            self.release(archetype, done.result())

    def _read(
        self, archetype: str, npcs: Sequence[str], known: dict[str, float]
    ) -> dict[str, Resident | ServiceError | None]:
        """Reads those NPCs from the store, on its thread, that are not resident, or not as another server left them."""
        wanted = [npc for npc in dict.fromkeys(npcs) if npc not in known]
        if self._store.shared and known:
            wanted += self._changed(known)
        found: dict[str, Resident | ServiceError | None] = dict.fromkeys(wanted)
        for npc, stored in (self._store.states(wanted) if wanted else {}).items():
            try:
                found[npc] = resident(self.repertoire, archetype, *stored)
            except ServiceError as error:
                found[npc] = error
        return found

    def _changed(self, known: dict[str, float]) -> list[str]:
        """Which residents another server changed; nobody, while the database is away: they act on as they are."""
        try:
            acting = self._store.acting(list(known))
        except ServiceError as error:
            log.warning("whether another server changed %d NPCs is not known: %s", len(known), error.message)
            return []
        return [npc for npc, made in known.items() if acting.get(npc) != made]
