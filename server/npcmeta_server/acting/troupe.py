"""The troupe: all archetypes that act, each with its revisions, their bank and their batcher, on the acting thread."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from npcmeta.types import BehaviorSpec
from npcmeta_server import metrics
from npcmeta_server.acting.batcher import Batcher
from npcmeta_server.acting.ensemble import Ensemble
from npcmeta_server.acting.policy import Decisions, Frame, Policy
from npcmeta_server.catalog import Catalog, Hosted
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.repertoire import Repertoire


class Troupe:
    """Who decides. Call from the event loop; one at a time may add and remove."""

    def __init__(self, catalog: Catalog, bank_bytes: int) -> None:
        """Makes a bank of at most `bank_bytes` for each archetype."""
        self.thread, self.repertoire = OwnerThread("acting"), Repertoire(catalog)
        self._bank_bytes = bank_bytes
        self.ensembles: dict[str, Ensemble] = {}
        self._batchers: dict[str, Batcher] = {}
        for name in self.repertoire.names:
            self._begin(Ensemble(self.repertoire.revisions(name), bank_bytes))

    async def act(self, archetype: str, frame: Frame, *, alone: bool) -> Decisions:
        """Decides; `alone` says that nobody else's frames could join this one."""
        return await self._batchers[archetype].act(frame, alone=alone)

    async def add(self, hosted: Hosted) -> None:
        """Lets a further archetype revision act beside those that do.

        Raises:
            ValueError: If the machine cannot promise the memory for its states.
        """
        name, revision = hosted.archetype.name, hosted.archetype.revision
        if self.repertoire.revision(name, revision) is not None:
            return
        ensemble = self.ensembles.get(name)
        if ensemble is None:
            self._begin(await asyncio.to_thread(Ensemble, [hosted], self._bank_bytes))
        else:
            policy = await asyncio.to_thread(Policy, hosted, ensemble.bank)
            await self.thread.run(ensemble.add, policy)
        self.repertoire.add(hosted)

    async def remove(self, archetype: str, revision: str) -> None:
        """Lets an archetype revision act no more. Rows of deleted NPCs in casts keep it loaded, not offered."""
        self.repertoire.remove(archetype, revision)
        await self._sweep(archetype)

    async def spec(self, archetype: str) -> BehaviorSpec | None:
        """What an archetype sees and decides that is offered, or was and is still in casts; None if there is none."""
        if archetype in self.ensembles and archetype not in self.repertoire:
            await self._sweep(archetype)
        return self.ensembles[archetype].spec if archetype in self.ensembles else None

    async def moving(self, wanted: Sequence[tuple[str, str]]) -> list[bool]:
        """Which of some NPCs would move, if each acted with the archetype revision beside it."""
        several = [ensemble for ensemble in self.ensembles.values() if ensemble.several]
        if not several:
            return [False] * len(wanted)
        return await self.thread.run(lambda: [any(each.moves(*pair) for each in several) for pair in wanted])

    async def check_move(self, npc: str, revision: str) -> None:
        """Makes room for an NPC to act with an archetype revision; TOO_MANY, if there is none."""
        for ensemble in self.ensembles.values():
            if ensemble.has(revision) and ensemble.several:
                await self.thread.run(ensemble.check_move, npc, revision)

    async def forget(self, npc: str) -> None:
        """Lets an NPC act no more."""
        for ensemble in self.ensembles.values():
            await self.thread.run(ensemble.bank.remove, npc)

    def close(self) -> None:
        """Waits for the frame under way."""
        self.thread.close()
        for name in self.ensembles:
            metrics.NPCS_RESIDENT.remove(name)

    async def _sweep(self, archetype: str) -> None:
        """Unloads the revisions of an archetype that act no more and that no cast holds any more."""
        ensemble = self.ensembles[archetype]
        for revision in ensemble.revisions:
            if self.repertoire.revision(archetype, revision) is None:
                await self.thread.run(ensemble.remove, revision)
        if not ensemble.revisions:
            del self.ensembles[archetype], self._batchers[archetype]
            metrics.NPCS_RESIDENT.remove(archetype)

    def _begin(self, ensemble: Ensemble) -> None:
        self.ensembles[ensemble.name] = ensemble
        self._batchers[ensemble.name] = Batcher(ensemble, self.thread)
        metrics.NPCS_RESIDENT.labels(ensemble.name).set_function(partial(len, ensemble.bank))
