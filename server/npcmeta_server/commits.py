"""Commits: those that wait at the same time go to disk together, with one wait for the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from npcmeta.types import Params
from npcmeta_server import metrics
from npcmeta_server.acting.troupe import Troupe
from npcmeta_server.errors import ServiceError
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.store import CommitRequest, Committed, RequestKey, RevisionRow, Store

AT_ONCE = 64
"""Commits in one transaction: others who need the store must not wait for longer."""


class Waiting(NamedTuple):
    """A commit that somebody waits for."""

    wanted: CommitRequest
    request: RequestKey
    state: Params
    ended: asyncio.Future[Committed]


class Commits:
    """Carries out commits in the order in which they came: first on disk, then into acting, then they are answered."""

    def __init__(self, store: Store, storage: OwnerThread, troupe: Troupe, turn: asyncio.Lock) -> None:
        """Writes to a store, on its thread `storage`, while it is this one's turn."""
        self._store, self._storage, self._troupe, self._turn = store, storage, troupe, turn
        self._waiting: list[Waiting] = []

    async def commit(self, wanted: CommitRequest, request: RequestKey, state: Params) -> Committed:
        """Commits a revision; must not be cancelled, because whoever has the turn commits for the others as well."""
        ended: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(wanted, request, state, ended))
        with metrics.COMMIT_SECONDS.time():
            async with self._turn:
                if not ended.done():  # nobody before us took it along
                    group, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                    await self._carry_out(group)
            return ended.result()

    async def _carry_out(self, group: Sequence[Waiting]) -> None:
        group = [each for each in group if self._can_act(each)]
        try:
            wanted = [(each.wanted.npc, each.wanted.archetype_revision) for each in group]
            for part in _parts(group, await self._troupe.moving(wanted)):
                await self._write(part)
        except BaseException as error:
            for each in group:
                if not each.ended.done():
                    each.ended.set_exception(error)

    def _can_act(self, each: Waiting) -> bool:
        """Refuses what an archetype revision adapted that was retired meanwhile; says whether it did not."""
        revision = each.wanted.archetype_revision
        if any(ensemble.has(revision) for ensemble in self._troupe.ensembles.values()):
            return True
        error = f"revision {revision[:12]} of the archetype was retired meanwhile, nothing was changed; adapt it again"
        each.ended.set_exception(ServiceError("ARCHETYPE_NOT_FOUND", error))
        return False

    async def _write(self, part: Sequence[Waiting]) -> None:
        """Commits some that do not move to another archetype revision, or one that does."""
        if len(part) == 1:
            try:
                await self._troupe.check_move(part[0].wanted.npc, part[0].wanted.archetype_revision)
            except ServiceError as error:
                part[0].ended.set_exception(error)
                return
        ends = await self._storage.run(self._store.commit_all, [(each.wanted, each.request) for each in part])
        written = [
            (end[0].revision, each.state)
            for end, each in zip(ends, part, strict=True)
            if not isinstance(end, ServiceError) and end[1]
        ]
        await self._troupe.thread.brief(renew, self._troupe, written)
        for revision, _ in written:
            metrics.REVISIONS.labels(revision.archetype).inc()
        for each, end in zip(part, ends, strict=True):
            if isinstance(end, ServiceError):
                each.ended.set_exception(end)
            else:
                each.ended.set_result(end[0])


def renew(troupe: Troupe, written: Sequence[tuple[RevisionRow, Params]]) -> None:
    """Lets revisions act that are on disk, all from the same frame on; on the acting thread, or in its place."""
    for revision, state in written:
        ensemble, to = troupe.ensembles[revision.archetype], revision.archetype_revision
        ensemble.renew(revision.npc, revision.number, state, to, revision.create_time)


def _parts(group: Sequence[Waiting], moving: Sequence[bool]) -> Iterator[Sequence[Waiting]]:
    """Those that move to another archetype revision alone: room is made for one at a time."""
    first = 0
    for at, moves in enumerate(moving):
        if moves:
            yield from filter(None, (group[first:at], group[at : at + 1]))
            first = at + 1
    yield from filter(None, [group[first:]])
