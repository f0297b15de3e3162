"""Moves one NPC: adapts it again with another archetype revision, checks it, and commits."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import torch

from npcmeta.types import Params
from npcmeta_server import clips
from npcmeta_server.adapting.jobs import Adapted, AdaptJob
from npcmeta_server.adapting.pool import AdaptationPool
from npcmeta_server.catalog import Hosted
from npcmeta_server.clips import Clip
from npcmeta_server.errors import ServiceError
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.roster import Roster
from npcmeta_server.store import CommitRequest, Committed, NpcRow, RequestKey, RevisionRow, Store
from npcmeta_server.store.upgrades import FAILED, KEPT, MOVED, SKIPPED, Outcome, UpgradeRow, still_running
from npcmeta_server.upgrading import holding_out

AGAIN = ("ETAG_MISMATCH", "ADAPT_IN_PROGRESS", "ADAPTATION_FAILED", "STORE_UNAVAILABLE")
"""Errors after which an NPC is looked at once more: its player adapted it meanwhile, or something was not to be had."""
TRIES = 7
WAIT_SECONDS = 0.2
"""Before the second try; twice as long before each further one."""


class Case(NamedTuple):
    """An NPC as it was read."""

    row: NpcRow
    acting: RevisionRow
    clips: list[Clip]  # behind the acting revision, oldest first


class Mover:
    """Moves NPCs to a revision that acts."""

    def __init__(self, roster: Roster, store: Store, storage: OwnerThread, pool: AdaptationPool) -> None:
        """Adapts in the pool, as one client of it; commits through the roster."""
        self._roster, self._store, self._storage, self._pool = roster, store, storage, pool

    async def move(self, upgrade: UpgradeRow, target: Hosted, npc: str) -> Outcome:
        """Moves an NPC if it is not worse then; says what became of it.

        Raises:
            ServiceError: SHUTTING_DOWN.
        """
        for tries in range(TRIES):
            if tries:
                await asyncio.sleep(WAIT_SECONDS * 2 ** (tries - 1))
            try:
                return await self._move(upgrade, target, npc)
            except ServiceError as error:
                if error.reason == "SHUTTING_DOWN":
                    raise
                if error.reason == "NPC_NOT_FOUND":
                    return Outcome(npc, SKIPPED)
                failed = Outcome(npc, FAILED, f"{error.reason}: {error.message}")
                if error.reason not in AGAIN:
                    break
        return failed

    async def _move(self, upgrade: UpgradeRow, target: Hosted, npc: str) -> Outcome:
        # A commit is told by its key, so that after a restart it counts once.
        key = RequestKey(f"Upgrade:{upgrade.id}:{npc}", upgrade.revision)
        case = await self._storage.run(self._read, upgrade, target, npc, key)
        if isinstance(case, Outcome):
            return case
        judged = await self._judge(upgrade, target, case)
        if judged.result != MOVED:
            return judged
        wanted, state = await self._adapted_to_all(target, case)
        with self._roster.alone(npc):  # whoever adapts the NPC at this moment comes first
            if await self._storage.run(self._store.do, still_running, upgrade) is None:
                return Outcome(npc, SKIPPED)
            await self._roster.commit(wanted, key, state)
        return judged

    def _read(self, upgrade: UpgradeRow, target: Hosted, npc: str, key: RequestKey) -> Case | Outcome:
        """Reads an NPC, on the store's thread; or says what became of it without a move."""
        begun = self._store.before_adapting(npc, key, from_scratch=False)
        if isinstance(begun, Committed):
            return Outcome(npc, MOVED)
        row, acting, known = begun
        if acting.archetype_revision == upgrade.revision:
            return Outcome(npc, SKIPPED)
        if row.archetype != upgrade.archetype:
            return Outcome(npc, FAILED, f"WRONG_ARCHETYPE: npcs/{npc} belongs to archetypes/{row.archetype}")
        found = [clips.from_bytes(data, target.archetype.spec) for data in known]
        left = sum(clip.examples for clip in found)
        if left < row.examples:
            return Outcome(
                npc,
                KEPT,
                f"it was adapted from {row.examples} examples, of which {left} are left: adapt it again first",
            )
        return Case(row, acting, found)

    async def _judge(self, upgrade: UpgradeRow, target: Hosted, case: Case) -> Outcome:
        """Adapts with both revisions to the same examples, and compares them on those that were held out."""
        npc, before = case.row.id, self._roster.repertoire.revision(case.row.archetype, case.acting.archetype_revision)
        parts = holding_out.split(case.clips)
        if upgrade.unchecked or before is None or parts is None:
            return Outcome(npc, MOVED)
        shown, held_out = (clips.join(part, target.archetype.spec) for part in parts)
        old, new = await asyncio.gather(
            *(self._adapt(each, case, shown, held_out) for each in (before, target)), return_exceptions=True
        )
        for end in (old, new):
            if isinstance(end, BaseException):
                raise end
        assert not isinstance(old, BaseException)
        assert not isinstance(new, BaseException)
        nll = old.held_out_nll, new.held_out_nll
        if nll[1] <= nll[0] + upgrade.tolerance:
            return Outcome(npc, MOVED, "", *nll)
        reason = (
            f"it would be worse: {nll[1]:.3f} nats per decision on {held_out.examples} examples that were held out, "
            f"{nll[0]:.3f} now; tolerated are {upgrade.tolerance:g} more"
        )
        return Outcome(npc, KEPT, reason, *nll)

    async def _adapted_to_all(self, target: Hosted, case: Case) -> tuple[CommitRequest, Params]:
        """What to commit, and the state that is to act."""
        row = case.row
        adapted = await self._adapt(target, case, clips.join(case.clips, target.archetype.spec), None)
        wanted = CommitRequest(
            row.id, row.etag, target.archetype.revision, adapted.examples, adapted.support_nll, adapted.data, (), (),
            False,
        )  # fmt: skip
        return wanted, {name: torch.from_numpy(value) for name, value in adapted.state.items()}

    async def _adapt(self, hosted: Hosted, case: Case, shown: Clip, held_out: Clip | None) -> Adapted:
        job = AdaptJob(hosted.archetype.revision, case.row.id, case.row.seed, shown, held_out)
        return await self._pool.adapt(job, client="upgrade")
