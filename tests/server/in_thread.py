"""A real server on a thread of the test's own process, for tests that look inside it or set it up in unusual ways."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from npcmeta_server.serving import Running, Settings, running


class Served(NamedTuple):
    """A server that answers, and how to stop it as a signal would."""

    grpc: str
    http: str
    stop: Callable[[], None]


@contextlib.contextmanager
def served(settings: Settings) -> Iterator[Served]:
    """Starts a server, and stops it at the end if the test has not."""
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    ready = threading.Event()
    found: list[Running] = []
    failed: list[BaseException] = []

    async def serve() -> None:
        async with running(settings) as server:
            found.append(server)
            ready.set()
            await stop.wait()

    def work() -> None:
        try:
            loop.run_until_complete(serve())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    try:
        if found:
            yield Served(found[0].grpc_address, found[0].http_address, lambda: _soon(loop, stop))
    finally:
        _soon(loop, stop)
        thread.join()
        loop.close()
    if failed:
        raise failed[0]


def _soon(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    loop.call_soon_threadsafe(stop.set)
