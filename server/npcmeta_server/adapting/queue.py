"""The queue before the adaptation processes: whose turn it is, so that nobody's thousand jobs hold up another's one.

Source: Goyal, Vin, Cheng, "Start-time fair queuing", 1996: each client's jobs lie on a time line of their own, and the
job that begins earliest is next. A client that was away begins at the present, with no credit for having waited.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from npcmeta_server.adapting.jobs import AdaptJob, Answer, Job, Progressed
from npcmeta_server.errors import ServiceError
from npcmeta_server.limits import MAX_ADAPTATIONS, MAX_ADAPTATIONS_OF_ONE

Watch = Callable[[Progressed], None]
COST_OF_A_JOB = 200
"""What a job costs beside its examples, in examples."""


@dataclass(eq=False)
class Entry:
    """A job on its way."""

    job: Job
    client: str
    done: asyncio.Future[Answer]
    watch: Watch | None = None
    deaths: int = 0  # of processes that had it
    place: int = 0  # in the queue, once it was there

    @property
    def cost(self) -> int:
        """What it takes, in examples."""
        return COST_OF_A_JOB + (self.job.clip.examples if isinstance(self.job, AdaptJob) else 0)


class Queue:
    """Jobs that wait, each client's in the order in which they came."""

    def __init__(self) -> None:
        """Begins empty."""
        self._heap: list[tuple[float, int]] = []  # where a job begins, and its place; also of those that are gone
        self._order = itertools.count(1)
        self._now = 0.0  # where the last job that was taken began
        self._ends: dict[str, float] = {}  # of each client's last job
        self._entries: dict[int, Entry] = {}  # by place; what is forgotten is not kept, its examples are large
        self._waiting: Counter[str] = Counter()  # jobs of each client that has some

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Entry) -> None:
        """Lets a job wait.

        Raises:
            ServiceError: TOO_MANY, if its client, or all of them, have as many waiting as may be.
        """
        _check("adaptations wait", len(self), MAX_ADAPTATIONS)
        _check("adaptations of this client wait", self._waiting[entry.client], MAX_ADAPTATIONS_OF_ONE)
        self._tidy()
        begin = max(self._now, self._ends.get(entry.client, 0.0))
        self._ends[entry.client] = begin + entry.cost
        self._waiting[entry.client] += 1
        entry.place = next(self._order)
        self._entries[entry.place] = entry
        heapq.heappush(self._heap, (begin, entry.place))

    def first(self) -> Entry | None:
        """The next job, which stays where it is."""
        while self._heap and self._heap[0][1] not in self._entries:
            heapq.heappop(self._heap)
        return self._entries[self._heap[0][1]] if self._heap else None

    def take(self) -> Entry:
        """The next job, which is then gone from here; there has to be one."""
        entry = self.first()
        assert entry is not None
        self._now, _ = heapq.heappop(self._heap)
        self._left(entry)
        return entry

    def forget(self, entry: Entry) -> bool:
        """Removes a job that nobody wants any more, if it waits here."""
        if entry.place not in self._entries:
            return False
        self._left(entry)
        return True

    def _tidy(self) -> None:
        """Forgets clients whose past does not matter any more."""
        if not self._entries:
            self._heap, self._ends, self._now = [], {}, 0.0
        elif len(self._ends) > 2 * len(self._waiting) + 100:
            self._ends = {client: end for client, end in self._ends.items() if end > self._now}
        if len(self._heap) > 2 * len(self._entries) + 100:
            self._heap = [each for each in self._heap if each[1] in self._entries]
            heapq.heapify(self._heap)

    def _left(self, entry: Entry) -> None:
        del self._entries[entry.place]
        self._waiting[entry.client] -= 1
        if not self._waiting[entry.client]:
            del self._waiting[entry.client]


def _check(what: str, found: int, limit: int) -> None:
    if found >= limit:
        raise ServiceError(
            "TOO_MANY", f"{found} {what}, which is all that may; try again when some have ended", limit=limit
        )
