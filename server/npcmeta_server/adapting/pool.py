"""The adaptation processes together: jobs wait for one of them, and outlive it if it dies."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping

from npcmeta_server import metrics
from npcmeta_server.adapting.jobs import Adapted, AdaptJob, Answer, Exported, ExportJob, Failed, Job
from npcmeta_server.adapting.priority import Priority
from npcmeta_server.adapting.process import AdaptationProcess
from npcmeta_server.adapting.queue import Entry, Queue, Watch
from npcmeta_server.errors import ServiceError

log = logging.getLogger(__name__)

MAX_DEATHS = 2
"""A job that so many processes died over is the likely cause, and fails."""
DIED = Failed(
    "ADAPTATION_FAILED", f"{MAX_DEATHS} adaptation processes stopped over this job, nothing was changed; try again"
)
STOPPING = Failed("SHUTTING_DOWN", "the server is stopping; please reconnect")


class AdaptationPool:
    """Adapts and exports NPCs elsewhere. Call from the event loop that it was made in."""

    def __init__(self, files: Mapping[str, bytes], processes: int = 1, priority: Priority = "idle") -> None:
        """Takes the files of archetype revisions, by revision, and starts the processes."""
        self._files = dict(files)
        self._queue = Queue()
        self._again: deque[Entry] = deque()  # jobs that a process died over
        self._processes = [AdaptationProcess(self._changed, priority) for _ in range(processes)]
        self._starting: dict[AdaptationProcess, asyncio.Task[None]] = {}
        self._closed = False
        try:
            for process in self._processes:
                process.start(self._files)
        except BaseException:
            self.close()  # else Python waits for those that run before it ends
            raise

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that run."""
        return [process.pid for process in self._processes if process.pid is not None]

    @property
    def waiting(self) -> int:
        """How many jobs have not been given to a process yet."""
        return len(self._queue)

    async def adapt(self, job: AdaptJob, watch: Watch | None = None, *, client: str = "") -> Adapted:
        """Runs an inner loop; `watch` is told of every step. Clients get equal shares of the time.

        Cancelling the caller frees the time at once: a job that waits is gone, an inner loop ends behind its step.

        Raises:
            ServiceError: ADAPTATION_DIVERGED, TOO_MANY if the queue is full, or ADAPTATION_FAILED if processes died
                over it.
        """
        with metrics.ADAPTATIONS_WAITING.track_inprogress(), metrics.ADAPTATION_SECONDS.time():
            answer = await self._do(job, watch, client)
        assert isinstance(answer, Adapted)
        return answer

    async def export(self, job: ExportJob, *, client: str = "") -> bytes:
        """An NPC's own ONNX file; raises ServiceError as `adapt` does."""
        answer = await self._do(job, None, client)
        assert isinstance(answer, Exported)
        return answer.model

    def load(self, revision: str, data: bytes) -> None:
        """Takes the file of a further archetype revision, for jobs to come."""
        self._files[revision] = data
        for process in self._processes:
            process.load(revision, data)

    def unload(self, revision: str) -> None:
        """Forgets an archetype revision that no job will ask for; processes that have it keep it to their end."""
        self._files.pop(revision, None)

    def close(self) -> None:
        """Ends the processes; jobs under way and those that wait fail."""
        self._closed = True
        for process in self._processes:
            process.close()
        self._fail(STOPPING)

    async def _do(self, job: Job, watch: Watch | None, client: str) -> Answer:
        if self._closed:
            raise ServiceError(*STOPPING)
        entry = Entry(job, client, asyncio.get_running_loop().create_future(), watch)
        self._queue.put(entry)
        self._hand_out()
        try:
            answer = await entry.done
        except asyncio.CancelledError:
            self._forget(entry)
            raise
        if isinstance(answer, Failed):
            raise ServiceError(*answer)
        return answer

    def _hand_out(self) -> None:
        """Gives jobs to processes that have room, and starts those that are gone, if there is something to do."""
        for process in self._processes:
            while (entry := self._next()) is not None and process.takes(entry):
                process.give(self._take())
            if entry is not None and process.pid is None and process not in self._starting:
                self._starting[process] = asyncio.create_task(self._start(process))

    def _next(self) -> Entry | None:
        while self._again and self._again[0].done.done():
            self._again.popleft()
        return self._again[0] if self._again else self._queue.first()

    def _take(self) -> Entry:
        return self._again.popleft() if self._again else self._queue.take()

    def _forget(self, entry: Entry) -> None:
        """Whoever asked is gone."""
        if self._queue.forget(entry):
            return
        for process in self._processes:
            process.cancel(entry)

    def _changed(self, process: AdaptationProcess, orphans: list[Entry]) -> None:
        """A process has room again, or has died."""
        for entry in orphans:
            entry.deaths += 1
            if entry.done.done():
                continue
            if self._closed or entry.deaths >= MAX_DEATHS:
                entry.done.set_result(STOPPING if self._closed else DIED)
            else:
                metrics.ADAPTATION_RETRIES.inc()
                self._again.append(entry)
        if not self._closed:
            self._hand_out()

    async def _start(self, process: AdaptationProcess) -> None:
        """In a thread: starting waits until the new process has read what it is given."""
        files = dict(self._files)
        try:
            await asyncio.to_thread(process.start, files)
            for revision in self._files.keys() - files:  # came while it started
                process.load(revision, self._files[revision])
        except Exception as error:  # of whatever kind: those who wait have to hear of it
            log.error("no adaptation process could be started: %s", error)
            self._fail(Failed("ADAPTATION_FAILED", "no adaptation process could be started, nothing was changed"))
        finally:
            del self._starting[process]
        if not self._closed:
            self._hand_out()

    def _fail(self, why: Failed) -> None:
        """Ends all jobs that wait."""
        while self._next() is not None:
            self._take().done.set_result(why)
