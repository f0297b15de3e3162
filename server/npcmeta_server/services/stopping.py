"""Streams of a server that stops: whether busy or idle, they are asked to reconnect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from npcmeta_server.errors import ServiceError

R = TypeVar("R")


async def until(stopping: asyncio.Event, requests: AsyncIterator[R]) -> AsyncIterator[R]:
    """The requests of a stream, until the server stops.

    Raises:
        ServiceError: SHUTTING_DOWN, as soon as `stopping` is set.
    """
    stop = asyncio.ensure_future(stopping.wait())
    following: asyncio.Task[R] | None = None
    try:
        iterator = aiter(requests)
        while True:
            following = asyncio.ensure_future(_next(iterator))
            await asyncio.wait((following, stop), return_when=asyncio.FIRST_COMPLETED)
            if stop.done():
                raise ServiceError("SHUTTING_DOWN", "the server is stopping; please reconnect")
            try:
                request = following.result()
            except StopAsyncIteration:
                return
            yield request
    finally:
        waiting = [stop] if following is None else [stop, following]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def _next(iterator: AsyncIterator[R]) -> R:
    return await anext(iterator)
