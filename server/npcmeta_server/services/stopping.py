"""Streams of a server that stops: whether busy or idle, they are asked to reconnect."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from npcmeta_server.errors import ServiceError

R = TypeVar("R")


class _Reading:
    """Whether a stream waits for its client, and who waits."""

    def __init__(self) -> None:
        self.task: asyncio.Task[object] | None = None
        self.interrupted = False

    async def interrupt(self, stopping: asyncio.Event) -> None:
        """Ends the waiting once the server stops; what is being answered is left to its end."""
        await stopping.wait()
        if self.task is not None:
            self.interrupted = True
            self.task.cancel()


def until(stopping: asyncio.Event, requests: AsyncIterator[R]) -> contextlib.aclosing[AsyncGenerator[R, None]]:
    """The requests of a stream, until the server stops; to be asked for inside its `async with`.

    A request costs no task: thousands come in a second.

    Raises:
        ServiceError: SHUTTING_DOWN, as soon as `stopping` is set.
    """
    return contextlib.aclosing(_until(stopping, requests))


async def _until(stopping: asyncio.Event, requests: AsyncIterator[R]) -> AsyncGenerator[R, None]:
    reading = _Reading()
    watch = asyncio.ensure_future(reading.interrupt(stopping))
    try:
        iterator = aiter(requests)
        reader = asyncio.current_task()  # once: asking costs a system call
        while not stopping.is_set():
            reading.task = reader
            try:
                request = await anext(iterator)
            except StopAsyncIteration:
                return
            except asyncio.CancelledError:
                if not reading.interrupted or reading.task is None:
                    raise
                reading.task.uncancel()
                break
            finally:
                reading.task = None
            yield request
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
    raise ServiceError("SHUTTING_DOWN", "the server is stopping; please reconnect")
