"""Streams of a server that stops: told at once, whether they wait, are asked, or have just ended."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from npcmeta_server.errors import ServiceError
from npcmeta_server.services.stopping import until


class Client:
    """Sends what it is given, and knows whether somebody still listens."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[int | None] = asyncio.Queue()
        self.listening = False

    async def stream(self) -> AsyncGenerator[int, None]:
        self.listening = True
        try:
            while (request := await self.requests.get()) is not None:
                yield request
        finally:
            self.listening = False


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    yield Client()
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == {asyncio.current_task()}  # nothing goes on behind a stream that has ended


async def first(stopping: asyncio.Event, client: Client) -> int:
    async with contextlib.aclosing(client.stream()) as sent, until(stopping, sent) as requests:
        return await anext(requests)


async def test_requests_go_through_until_the_client_ends(client: Client) -> None:
    for request in (1, 2, None):
        client.requests.put_nowait(request)
    async with until(asyncio.Event(), client.stream()) as requests:
        assert [request async for request in requests] == [1, 2]


async def test_an_idle_stream_is_told_at_once(client: Client) -> None:
    stopping = asyncio.Event()
    waiting = asyncio.ensure_future(first(stopping, client))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    stopping.set()
    with pytest.raises(ServiceError) as caught:
        await asyncio.wait_for(waiting, 1)
    assert caught.value.reason == "SHUTTING_DOWN"
    assert not client.listening


async def test_nothing_is_read_after_the_stop_and_a_client_that_ends_then_is_no_fault(client: Client) -> None:
    stopping = asyncio.Event()
    async with until(stopping, client.stream()) as requests:
        client.requests.put_nowait(1)
        assert await anext(requests) == 1
        client.requests.put_nowait(None)
        stopping.set()
        with pytest.raises(ServiceError):
            await anext(requests)


async def test_a_reader_that_is_cancelled_or_leaves_stops_listening(client: Client) -> None:
    waiting = asyncio.ensure_future(first(asyncio.Event(), client))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not client.listening
    client.requests.put_nowait(1)
    assert await first(asyncio.Event(), client) == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}  # at once


async def test_a_fault_of_the_stream_reaches_its_reader(client: Client) -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise OSError("reset by peer")

    async with until(asyncio.Event(), broken()) as requests:
        assert await anext(requests) == 1
        with pytest.raises(OSError, match="reset"):
            await anext(requests)
