"""The batcher: frames that wait while one is being computed are computed together, whatever stream they come from."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

from npcmeta_server import metrics
from npcmeta_server.acting.ensemble import Ensemble
from npcmeta_server.acting.policy import Decisions, Frame
from npcmeta_server.owner_thread import OwnerThread

MAX_ROWS = 8192
"""Most NPCs in one run, but for a single frame that has more."""
AT_ONCE_SECONDS = 1e-3
"""Of processor time: runs that take less are not worth handing over to a thread that has nothing else to do."""
ALONE_SECONDS = 5e-3
"""The same where nobody else's frame could be joined or delayed; only calls of other kinds wait."""


class _Waiting(NamedTuple):
    frame: Frame
    decided: asyncio.Future[Decisions]


class Batcher:
    """Joins the frames of one archetype. Nobody waits for a batch to fill: an idle policy starts at once."""

    def __init__(self, policy: Ensemble, thread: OwnerThread) -> None:
        """Runs the archetype's policy, that is those of its revisions, on the acting thread, or in its place."""
        self._policy, self._thread = policy, thread
        self._seconds_per_row = math.inf  # of the last run
        name = policy.name
        self._batch_rows, self._batch_frames = metrics.BATCH_ROWS.labels(name), metrics.BATCH_FRAMES.labels(name)
        self._decisions = metrics.DECISIONS.labels(name)
        self._waiting: list[_Waiting] = []
        self._working: asyncio.Task[None] | None = None

    async def act(self, frame: Frame, *, alone: bool = False) -> Decisions:
        """Decides for the NPCs of a frame; `alone` says that there is no other stream whose frames could join it."""
        if alone and self._working is None and self._is_short(len(frame.rows), ALONE_SECONDS):
            decided = self._decide([frame])[0]
            self._count([frame])
            return decided
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
        frames = [entry.frame for entry in batch]
        try:
            if self._is_short(_rows(frames), AT_ONCE_SECONDS):
                results = self._decide(frames)
            else:
                results = await self._thread.run(self._decide, frames)
            self._count(frames)
        except Exception as error:  # whatever it is, those who wait have to hear of it
            for entry in batch:
                if not entry.decided.done():
                    entry.decided.set_exception(error)
            return
        for entry, decisions in zip(batch, results, strict=True):
            if not entry.decided.done():  # its stream may have gone meanwhile
                entry.decided.set_result(decisions)

    def _is_short(self, rows: int, seconds: float) -> bool:
        """Whether a run can be made here and now, as the thread is idle and it will not take long."""
        return self._thread.idle and rows * self._seconds_per_row <= seconds

    def _decide(self, frames: Sequence[Frame]) -> list[Decisions]:
        began = time.thread_time()
        decided = self._policy.act(frames)
        self._seconds_per_row = (time.thread_time() - began) / max(1, _rows(frames))
        return decided

    def _count(self, frames: Sequence[Frame]) -> None:
        rows = _rows(frames)
        self._batch_rows.observe(rows)
        self._batch_frames.inc(len(frames))
        self._decisions.inc(rows)

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


def _rows(frames: Sequence[Frame]) -> int:
    return sum(len(frame.rows) for frame in frames)
