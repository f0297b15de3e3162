"""One adaptation process, seen from the acting process: starts it, hands it jobs, notices its end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import multiprocessing
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from npcmeta_server import metrics
from npcmeta_server.adapting import orders, worker
from npcmeta_server.adapting.jobs import Answer, Cancel, Load, Numbered, Order, Progressed
from npcmeta_server.adapting.priority import Priority
from npcmeta_server.adapting.queue import Entry
from npcmeta_server.owner_thread import OwnerThread

log = logging.getLogger(__name__)

MAX_JOBS = 2 * worker.MAX_TASKS
MAX_COST = 2 * worker.MAX_PADDED_EXAMPLES
"""What one process has at a time: the batch under way and the next one. What waits elsewhere can be overtaken."""
SILENT_SECONDS = 120.0
"""A process that has jobs and says nothing for so long is ended."""


class AdaptationProcess:
    """A process, or the next one in its place. Belongs to the event loop that it was made in."""

    def __init__(self, changed: Callable[[AdaptationProcess, list[Entry]], None], priority: Priority) -> None:
        """Starts nothing; `changed` is told when it has room again, and of the jobs that it died over."""
        self._changed, self._priority = changed, priority
        self._loop = asyncio.get_running_loop()
        self._writer = OwnerThread("adaptation-writer")
        self._numbers = itertools.count(1)
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._closed = False
        self.jobs: dict[int, Entry] = {}

    @property
    def pid(self) -> int | None:
        """The process's id, while it runs."""
        return self._process.pid if self._process else None

    def takes(self, entry: Entry) -> bool:
        """Whether it runs and has room for a job. One that a process died over gets a process to itself."""
        if self._process is None:
            return False
        if not self.jobs:
            return True
        if entry.deaths or any(each.deaths for each in self.jobs.values()):
            return False
        cost = entry.cost + sum(each.cost for each in self.jobs.values())
        return len(self.jobs) < MAX_JOBS and cost <= MAX_COST

    def give(self, entry: Entry) -> None:
        """Hands a job over."""
        number = next(self._numbers)
        self.jobs[number] = entry
        self._send(Numbered(number, entry.job))
        self._listen()

    def cancel(self, entry: Entry) -> None:
        """Takes a job back, if it is here; it counts until the process has heard of it."""
        for number, each in self.jobs.items():
            if each is entry:
                self._send(Cancel(number))

    def load(self, revision: str, data: bytes) -> None:
        """Gives a further archetype revision, if it runs, before the jobs that need it."""
        self._send(Load(revision, data))

    def start(self, files: Mapping[str, bytes]) -> None:
        """Starts it; returns when it has been given the archetypes' files. May be called from any thread."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        given = (theirs, dict(files), self._priority)
        process = context.Process(target=worker.work, args=given, daemon=True, name="adaptation")
        process.start()
        theirs.close()
        self._process, self._connection = process, ours
        metrics.ADAPTATION_STARTS.inc()
        threading.Thread(target=self._read, args=(process, ours), daemon=True, name="adaptation-reader").start()
        if self._closed:
            process.kill()

    def close(self) -> None:
        """Ends it; it may still be starting."""
        self._closed = True
        if (process := self._process) is not None:
            process.kill()  # nothing is lost; it takes no other signal
            process.join(5)
        if self._silence is not None:
            self._silence.cancel()
        self._writer.close()

    def _send(self, order: Order) -> None:
        # Off the event loop: a pipe that is full makes the sender wait.
        self._writer.post(_sent, self._connection, order)

    def _read(self, process: BaseProcess, connection: Connection) -> None:
        """Body of the thread that takes answers until the process is gone."""
        try:
            while True:
                self._loop.call_soon_threadsafe(self._answered, process, connection.recv())
        except (EOFError, OSError):
            pass
        except Exception:
            log.exception("the adaptation process sent what cannot be read")
            process.kill()
        process.join()
        with contextlib.suppress(RuntimeError):  # the event loop was closed first
            self._loop.call_soon_threadsafe(self._ended, process)

    def _answered(self, process: BaseProcess, answers: list[tuple[int, Answer]]) -> None:
        if process is not self._process:
            return
        for number, answer in answers:
            entry = self.jobs[number]
            if isinstance(answer, Progressed):
                if entry.watch is not None and not entry.done.done():
                    entry.watch(answer)
                continue
            del self.jobs[number]
            if not entry.done.done():  # else whoever asked is gone
                entry.done.set_result(answer)
        self._listen()
        self._changed(self, [])

    def _ended(self, process: BaseProcess) -> None:
        if process is not self._process:
            return
        self._process = self._connection = None
        if not self._closed:
            log.error("the adaptation process ended with code %s", process.exitcode)
        orphans, self.jobs = list(self.jobs.values()), {}
        self._listen()
        self._changed(self, orphans)

    def _listen(self) -> None:
        """Begins to wait for the next word of it, if there is something to say."""
        if self._silence is not None:
            self._silence.cancel()
        self._silence = self._loop.call_later(SILENT_SECONDS, self._silent) if self.jobs else None

    def _silent(self) -> None:
        if self._process is not None:
            log.error("the adaptation process has said nothing for %.0f s and is ended", SILENT_SECONDS)
            self._process.kill()


def _sent(connection: Connection | None, order: Order) -> None:
    # One that is gone is noticed by whoever reads from it.
    with contextlib.suppress(OSError):
        if connection is not None:
            orders.send(connection, order)
