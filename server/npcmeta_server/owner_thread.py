"""A thread that owns something which only one thread may touch: the database, or the state banks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


class OwnerThread:
    """Runs calls one after another, in the order in which they came, off the event loop."""

    def __init__(self, name: str) -> None:
        """Starts no thread before the first call."""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._unfinished: set[Future[Any]] = set()

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting or being done: whoever makes all calls may then make a short one by itself.

        Handing a call over, and its result back, costs as much as deciding for a hundred NPCs.
        """
        return not self._unfinished

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of a call. If the caller is cancelled, a call that has begun is carried out, and no other."""
        return await asyncio.wrap_future(self._submit(function, *args, **kwargs))

    async def brief(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of a call that takes microseconds: made here and now if the thread is idle, else in its turn."""
        return function(*args, **kwargs) if self.idle else await self.run(function, *args, **kwargs)

    def post(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Lets a call be made behind those that wait, without waiting for it."""
        self._submit(function, *args, **kwargs).add_done_callback(_tell)

    def _submit(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        future = self._executor.submit(function, *args, **kwargs)
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        return future

    def close(self) -> None:
        """Waits until all calls are done."""
        self._executor.shutdown()


def _tell(done: Future[object]) -> None:
    """Nobody waits for what was posted, so that a fault of it has to go into the log."""
    if (error := done.exception()) is not None:
        log.error("a call that nobody waits for failed", exc_info=error)
