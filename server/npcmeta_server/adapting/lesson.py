"""A lesson: the examples of one Adapt stream, adapted to as they come."""

from __future__ import annotations

import asyncio
import contextlib

from npcmeta_server import beside, clips
from npcmeta_server.adapting.jobs import Adapted, AdaptJob
from npcmeta_server.adapting.pool import AdaptationPool
from npcmeta_server.adapting.queue import Watch
from npcmeta_server.catalog import Hosted
from npcmeta_server.clips import Clip
from npcmeta_server.errors import ServiceError
from npcmeta_server.store import NpcRow


class Lesson:
    """Runs the inner loop on everything shown so far, again whenever more has come; one job at a time."""

    def __init__(
        self, pool: AdaptationPool, hosted: Hosted, npc: NpcRow, known: list[Clip], watch: Watch, client: str
    ) -> None:
        """Begins with the clips that are known already; `watch` is told of every inner step of what `client` asks."""
        self._pool, self._hosted, self._npc, self._watch, self._client = pool, hosted, npc, watch, client
        self._clips, self._known = list(known), len(known)
        self.examples = sum(clip.examples for clip in self._clips)  # how many there are so far
        self._bytes = sum(clip.nbytes for clip in self._clips)
        self._adapted: Adapted | None = None
        self._covered = -1  # clips behind the last result
        self._running: asyncio.Task[None] | None = None

    def show(self, clip: Clip, *, more_at_once: bool = False) -> None:
        """Adds a clip, and adapts in the background unless there is more to come at once.

        Raises:
            ServiceError: TOO_MANY, beyond the most examples of one NPC.
        """
        clips.check_total(self.examples + clip.examples)
        self._clips.append(clip)
        self.examples += clip.examples
        self._bytes += clip.nbytes
        if more_at_once:
            return
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._adapt_meanwhile())

    async def finish(self, seconds: float | None = None) -> tuple[Adapted, int]:
        """The result of adapting to everything, and how many of the clips that were shown are behind it.

        If that takes longer than `seconds`, it is the last result that there is.

        Raises:
            ServiceError: If an inner loop failed; TIME_BUDGET_EXCEEDED if none ended in time.
        """
        try:
            async with asyncio.timeout(seconds):
                if self._running is not None:
                    await self._running
                await self._adapt()
        except TimeoutError as error:
            if self._adapted is None:
                raise ServiceError(
                    "TIME_BUDGET_EXCEEDED",
                    f"no inner loop on {self.examples} examples of npcs/{self._npc.id} ended within the time budget of "
                    f"{seconds} s, nothing was changed; allow more time, or show fewer examples",
                ) from error
        assert self._adapted is not None
        return self._adapted, self._covered - self._known

    async def discard(self) -> None:
        """Ends the lesson; nothing of it remains."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _adapt_meanwhile(self) -> None:
        # What fails here is tried again, and reported, when the lesson is finished.
        with contextlib.suppress(ServiceError):
            await self._adapt()

    async def _adapt(self) -> None:
        while self._covered != len(self._clips):
            shown = list(self._clips)
            self._adapted = await self._pool.adapt(await self._job(shown), self._watch, client=self._client)
            self._covered = len(shown)

    async def _job(self, shown: list[Clip]) -> AdaptJob:
        """To adapt to some clips; nobody but the pool keeps it, for it holds the examples once more."""
        archetype = self._hosted.archetype
        clip = await beside.run(self._bytes, lambda: clips.join(shown, archetype.spec))
        return AdaptJob(archetype.revision, self._npc.id, self._npc.seed, clip)
