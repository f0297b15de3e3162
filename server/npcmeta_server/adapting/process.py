"""The acting process's end of the adaptation process: starts it, hands it jobs, starts it again when it died."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import NamedTuple

from npcmeta_server import metrics
from npcmeta_server.adapting import worker
from npcmeta_server.adapting.jobs import Adapted, AdaptJob, Answer, Exported, ExportJob, Failed, Job, Progressed
from npcmeta_server.errors import ServiceError
from npcmeta_server.owner_thread import OwnerThread

log = logging.getLogger(__name__)

Watch = Callable[[Progressed], None]
DIED = Failed("ADAPTATION_FAILED", "the adaptation process stopped, nothing was changed; try again")


class _Pending(NamedTuple):
    done: asyncio.Future[Answer]
    watch: Watch | None


class AdaptationProcess:
    """Adapts and exports NPCs elsewhere. Call from the event loop that it was made in."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        """Takes the archetypes' files, by name, and starts the process."""
        self._files = dict(files)
        self._loop = asyncio.get_running_loop()
        self._writer = OwnerThread("adaptation-writer")
        self._pending: dict[int, _Pending] = {}
        self._number, self._closed = 0, False
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._starting = asyncio.Lock()
        self._started(*self._spawn())

    @property
    def pid(self) -> int | None:
        """The process's id, while it runs."""
        return self._process.pid if self._process else None

    async def adapt(self, job: AdaptJob, watch: Watch | None = None) -> Adapted:
        """Runs an inner loop; `watch` is told of every step.

        Raises:
            ServiceError: ADAPTATION_DIVERGED, or ADAPTATION_FAILED if the process died over it.
        """
        with metrics.ADAPTATIONS_WAITING.track_inprogress(), metrics.ADAPTATION_SECONDS.time():
            answer = await self._do(job, watch)
        assert isinstance(answer, Adapted)
        return answer

    async def export(self, job: ExportJob) -> bytes:
        """An NPC's own ONNX file; raises ServiceError as `adapt` does."""
        answer = await self._do(job, None)
        assert isinstance(answer, Exported)
        return answer.model

    def close(self) -> None:
        """Ends the process; jobs under way fail."""
        self._closed = True
        if self._process is not None:
            self._process.terminate()
            self._process.join(5)
            if self._process.is_alive():
                self._process.kill()
        self._writer.close()

    async def _do(self, job: Job, watch: Watch | None) -> Answer:
        async with self._starting:
            if self._process is None and not self._closed:
                # In a thread: starting waits until the new process has read what it is given.
                self._started(*await asyncio.to_thread(self._spawn))
        if self._closed:
            self.close()  # also what was started meanwhile
            raise ServiceError("SHUTTING_DOWN", "the server is stopping; please reconnect")
        self._number += 1
        number, done = self._number, self._loop.create_future()
        self._pending[number] = _Pending(done, watch)
        try:
            # Off the event loop: a pipe that is full makes the sender wait.
            await self._writer.run(self._send, self._connection, number, job)
            answer = await done
        finally:
            self._pending.pop(number, None)
        if isinstance(answer, Failed):
            raise ServiceError(*answer)
        return answer

    @staticmethod
    def _send(connection: Connection | None, number: int, job: Job) -> None:
        try:
            if connection is None:
                raise OSError("the process is not running")
            connection.send((number, job))
        except OSError as error:
            raise ServiceError(*DIED) from error

    def _spawn(self) -> tuple[BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=worker.work, args=(theirs, self._files), daemon=True, name="adaptation")
        process.start()
        theirs.close()
        return process, ours

    def _started(self, process: BaseProcess, connection: Connection) -> None:
        self._process, self._connection = process, connection
        metrics.ADAPTATION_STARTS.inc()
        threading.Thread(target=self._read, args=(process, connection), daemon=True, name="adaptation-reader").start()

    def _read(self, process: BaseProcess, connection: Connection) -> None:
        """Body of the thread that takes answers until the process is gone."""
        try:
            while True:
                number, answer = connection.recv()
                self._loop.call_soon_threadsafe(self._answered, number, answer)
        except (EOFError, OSError):
            pass
        except Exception:
            log.exception("the adaptation process sent what cannot be read")
            process.kill()
        process.join()
        try:
            self._loop.call_soon_threadsafe(self._ended, process)
        except RuntimeError:
            return  # the event loop was closed first

    def _answered(self, number: int, answer: Answer) -> None:
        pending = self._pending.get(number)
        if pending is None or pending.done.done():
            return  # whoever asked is gone
        if not isinstance(answer, Progressed):
            pending.done.set_result(answer)
        elif pending.watch is not None:
            pending.watch(answer)

    def _ended(self, process: BaseProcess) -> None:
        """Fails what was under way; the next job starts a new process."""
        if process is not self._process:
            return
        self._process = self._connection = None
        if not self._closed:
            log.error(
                "the adaptation process ended with code %s; the next adaptation starts it again", process.exitcode
            )
        for pending in self._pending.values():
            if not pending.done.done():
                pending.done.set_result(DIED)
