"""The roster: which NPCs act, with which state. Joins the store, where the truth is, and the state banks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from npcmeta.archetype import ArchetypeFileError, npc_from_bytes
from npcmeta.types import Params
from npcmeta_server import metrics
from npcmeta_server.acting.batcher import Batcher
from npcmeta_server.acting.policy import Decisions, Frame, Policy
from npcmeta_server.acting.state_bank import StateBank
from npcmeta_server.catalog import Catalog, Hosted
from npcmeta_server.errors import ServiceError
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.store import ONCE, CommitRequest, NpcRow, RequestKey, RevisionRow, Store

AT_A_TIME = 256
"""NPCs that are read from the store in one turn: a cast of thousands must not keep commits waiting."""


class Acting(NamedTuple):
    """An NPC that may act until it is released."""

    npc: str
    row: int
    seed: int


class Resident(NamedTuple):
    """What the bank needs to know of an NPC."""

    npc: NpcRow
    revision: RevisionRow
    state: Params


class Roster:
    """NPCs ready to act. Loading from the store and committing to it take turns, so that no bank is left behind."""

    def __init__(self, catalog: Catalog, store: Store, storage: OwnerThread, bank_bytes: int) -> None:
        """Makes a bank of at most `bank_bytes` for each archetype; `storage` is the thread that owns the store."""
        self._store, self._storage = store, storage
        self._thread = OwnerThread("acting")
        self._policies = {name: Policy(hosted, bank_bytes) for name, hosted in catalog.hosted.items()}
        self._batchers = {name: Batcher(policy, self._thread) for name, policy in self._policies.items()}
        self._turn = asyncio.Lock()
        self._busy: set[str] = set()
        self.streams = 0
        """How many streams may ask for frames."""

    def hosted(self, archetype: str) -> Hosted:
        """An archetype, or ARCHETYPE_NOT_FOUND."""
        policy = self._policies.get(archetype)
        if policy is None:
            offered = ", ".join(sorted(self._policies)[:20])
            raise ServiceError(
                "ARCHETYPE_NOT_FOUND",
                f"there is no archetypes/{archetype}; offered are: {offered}",
                archetype=archetype,
            )
        return policy.hosted

    def num_resident(self, archetype: str) -> int:
        """How many NPCs of an archetype are in memory, or were a moment ago."""
        return len(self._policies[archetype].bank)

    async def act(self, archetype: str, frame: Frame, *, alone: bool = False) -> Decisions:
        """Decides for NPCs that were acquired; `alone` says that the stream asks for nothing else in this tick."""
        return await self._batchers[archetype].act(frame, alone=alone and self.streams == 1)

    async def acquire(self, archetype: str, npcs: Sequence[str]) -> list[Acting | ServiceError]:
        """Makes NPCs of an archetype ready to act, until `release`; for each of them where it is, or why it is not."""
        self.hosted(archetype)
        found: list[Acting | ServiceError] = []
        for first in range(0, len(npcs), AT_A_TIME):
            task = asyncio.ensure_future(self._acquire(archetype, npcs[first : first + AT_A_TIME]))
            try:
                found += await asyncio.shield(task)
            except BaseException:
                self.release(archetype, found)
                task.add_done_callback(lambda done: self._release_late(archetype, done))
                raise
        return found

    def release(self, archetype: str, found: Sequence[Acting | ServiceError]) -> None:
        """Gives back what `acquire` gave."""
        acting = [entry for entry in found if isinstance(entry, Acting)]
        if acting:
            names, rows = [entry.npc for entry in acting], [entry.row for entry in acting]
            self._thread.post(self._policies[archetype].bank.release, names, rows)

    async def commit(self, wanted: CommitRequest, request: RequestKey, state: Params) -> tuple[RevisionRow, list[str]]:
        """Commits a revision to disk and then lets it act; done to the end even if whoever asked is gone."""
        return await asyncio.shield(self._commit(wanted, request, state))

    async def roll_back(self, npc: str, number: int, etag: str, request: RequestKey) -> NpcRow:
        """Lets a kept revision act again, on disk first; done to the end even if whoever asked is gone."""
        return await asyncio.shield(self._roll_back(npc, number, etag, request))

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
        self._thread.close()

    async def _acquire(self, archetype: str, npcs: Sequence[str]) -> list[Acting | ServiceError]:
        hosted, bank = self._policies[archetype].hosted, self._policies[archetype].bank
        async with self._turn:
            missing = await self._thread.run(lambda: [npc for npc in dict.fromkeys(npcs) if npc not in bank])
            read = await self._storage.run(self._read, hosted, missing) if missing else {}
            return await self._thread.run(_seat, bank, npcs, read)

    async def _commit(self, wanted: CommitRequest, request: RequestKey, state: Params) -> tuple[RevisionRow, list[str]]:
        async with self._turn:
            with metrics.COMMIT_SECONDS.time():
                revision, clips, new = await self._storage.run(self._committed, wanted, request)
                if not new:
                    return revision, clips
                await self._thread.run(self._renew, revision, state)
            metrics.REVISIONS.labels(revision.archetype).inc()
            return revision, clips

    def _committed(self, wanted: CommitRequest, request: RequestKey) -> tuple[RevisionRow, list[str], bool]:
        """Commits, on the store's thread, and says whether it was new.

        A retry may come behind later commits: what its first try made is told, and does not act again.
        """
        if (before := self._store.committed(wanted.npc, request)) is not None:
            return *before, False
        return *self._store.commit(wanted, request), True

    async def _roll_back(self, npc: str, number: int, etag: str, request: RequestKey) -> NpcRow:
        async with self._turn:
            row, back = await self._storage.run(self._rolled_back, npc, number, etag, request)
            if back is not None:
                await self._thread.run(self._renew, back.revision, back.state)
            return row

    def _rolled_back(self, npc: str, number: int, etag: str, request: RequestKey) -> tuple[NpcRow, Resident | None]:
        """Rolls back, on the store's thread, unless the first try did: to a state that can act here, or not at all."""
        if (before := self._store.rolled_back(npc, request)) is not None:
            return before, None
        row, revision, data = self._store.state(npc, number)
        state = read_state(self.hosted(row.archetype), npc, revision, data)
        changed = self._store.roll_back(npc, number, etag, request)
        return changed, Resident(changed, revision, state)

    async def _delete(self, npc: str, etag: str, request: RequestKey) -> None:
        async with self._turn:
            if await self._storage.run(self._store.delete_npc, npc, etag, request):
                for policy in self._policies.values():
                    await self._thread.run(policy.bank.remove, npc)

    def _release_late(self, archetype: str, done: asyncio.Future[list[Acting | ServiceError]]) -> None:
        """Gives back what was acquired for somebody who was gone by then."""
        if not done.cancelled() and done.exception() is None:
            self.release(archetype, done.result())

    def _read(self, hosted: Hosted, npcs: Sequence[str]) -> dict[str, Resident | ServiceError]:
        """Reads NPCs from the store, on its thread; those that there are."""
        found: dict[str, Resident | ServiceError] = {}
        for npc, stored in self._store.states(npcs).items():
            try:
                found[npc] = _resident(hosted, *stored)
            except ServiceError as error:
                found[npc] = error
        return found

    def _renew(self, revision: RevisionRow, state: Params) -> None:
        self._policies[revision.archetype].bank.renew(revision.npc, revision.number, state)


def _resident(hosted: Hosted, row: NpcRow, revision: RevisionRow, data: bytes) -> Resident:
    if row.archetype != hosted.archetype.name:
        raise ServiceError(
            "WRONG_ARCHETYPE",
            f"npcs/{row.id} belongs to archetypes/{row.archetype}, not to archetypes/{hosted.archetype.name}",
            npc=row.id,
            archetype=row.archetype,
        )
    return Resident(row, revision, read_state(hosted, row.id, revision, data))


def read_state(hosted: Hosted, npc: str, revision: RevisionRow, data: bytes) -> Params:
    """The state of a revision, or REVISION_UNAVAILABLE if another archetype revision adapted it."""
    if revision.archetype_revision != hosted.archetype.revision:
        raise ServiceError(
            "REVISION_UNAVAILABLE",
            f"npcs/{npc} was adapted by revision {revision.archetype_revision[:12]} of "
            f"archetypes/{revision.archetype}, loaded is {hosted.archetype.revision[:12]}; adapt it "
            "again, or serve the old revision",
            npc=npc,
        )
    try:
        source, expected = f"npcs/{npc}", hosted.first_state
        return npc_from_bytes(data, hosted.archetype, source=source, expected=expected).state
    except ArchetypeFileError as error:
        raise ServiceError("STORE_UNAVAILABLE", f"the store holds a damaged state: {error}", npc=npc) from error


def _seat(
    bank: StateBank, npcs: Sequence[str], read: dict[str, Resident | ServiceError]
) -> list[Acting | ServiceError]:
    """Acquires NPCs, on the acting thread: first those that are resident, so that nobody read makes them give way."""
    rows = [bank.acquire(npc) for npc in npcs]
    return [_acting(bank, npc, row, read.get(npc)) for npc, row in zip(npcs, rows, strict=True)]


def _acting(bank: StateBank, npc: str, row: int | None, read: Resident | ServiceError | None) -> Acting | ServiceError:
    if isinstance(read, ServiceError):
        return read
    if row is None and read is not None:
        try:
            if npc not in bank:
                bank.put(npc, read.revision.number, read.npc.seed, read.state)
        except ServiceError as error:
            return error
        row = bank.acquire(npc)
    if row is None:
        return ServiceError("NPC_NOT_FOUND", f"there is no npcs/{npc}; create it first", npc=npc)
    return Acting(npc, row, bank.seed(row))
