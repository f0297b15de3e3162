"""The batcher: frames that wait while one is being computed are computed together, whatever stream they come from."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from npcmeta_server import metrics
from npcmeta_server.acting.policy import Decisions, Frame, Policy
from npcmeta_server.owner_thread import OwnerThread

MAX_ROWS = 8192
"""Most NPCs in one run, but for a single frame that has more."""


class _Waiting(NamedTuple):
    frame: Frame
    decided: asyncio.Future[Decisions]


class Batcher:
    """Joins the frames of one archetype revision. Nobody waits for a batch to fill: an idle policy starts at once."""

    def __init__(self, policy: Policy, thread: OwnerThread) -> None:
        """Runs the policy on the acting thread."""
        self._policy, self._thread = policy, thread
        self._waiting: list[_Waiting] = []
        self._working: asyncio.Task[None] | None = None

    async def act(self, frame: Frame) -> Decisions:
        """Decides for the NPCs of a frame."""
        entry = _Waiting(frame, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        return await entry.decided

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._run(self._take())
        finally:
            self._working = None

    async def _run(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        try:
            results = await self._thread.run(self._policy.act, [entry.frame for entry in batch])
        except Exception as error:  # whatever it is, those who wait have to hear of it
            for entry in batch:
                if not entry.decided.done():
                    entry.decided.set_exception(error)
            return
        self._count(batch)
        for entry, decisions in zip(batch, results, strict=True):
            if not entry.decided.done():  # its stream may have gone meanwhile
                entry.decided.set_result(decisions)

    def _count(self, batch: list[_Waiting]) -> None:
        archetype, rows = self._policy.hosted.archetype.name, sum(len(entry.frame.rows) for entry in batch)
        metrics.BATCH_ROWS.labels(archetype).observe(rows)
        metrics.BATCH_FRAMES.labels(archetype).inc(len(batch))
        metrics.DECISIONS.labels(archetype).inc(rows)

    def _take(self) -> list[_Waiting]:
        taken: list[_Waiting] = []
        rows = 0
        while self._waiting and (not taken or rows + len(self._waiting[0].frame.rows) <= MAX_ROWS):
            entry = self._waiting.pop(0)
            if entry.decided.done():
                continue
            taken.append(entry)
            rows += len(entry.frame.rows)
        return taken
