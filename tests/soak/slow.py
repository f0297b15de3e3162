"""A thousand slow or vanishing clients: everybody else's frames come as before."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import grpc.aio
import numpy as np

from npcmeta_server.demo.host import Address
from npcmeta_server.gen.npcmeta.v1 import act_pb2_grpc, adapt_pb2, adapt_pb2_grpc
from tests import toys
from tests.server.client import Client, Stream, cast, clip, group, observations, part, tick
from tests.soak.report import Report, Tell
from tests.soak.victim import ARCHETYPE, Victim, resident_mebibytes, victim

NPCS = 100
SEEN = observations(NPCS)
FRAME_SECONDS = 0.02
ROUNDS = 3
"""Of playing alone and playing among them, in turn."""


def run(folder: Path, clients: int, seed: int, tell: Tell, seconds: float) -> Report:
    """Plays for `seconds` alone, then among so many clients; several rounds of it."""
    alone, among = [], []
    with victim(folder) as server:
        npcs = _npcs(server)
        for number in range(ROUNDS):
            alone += [_p99(server, npcs, seconds)]
            with _crowd(server, clients, seed + number, npcs[0]):
                among += [_p99(server, npcs, seconds)]
            server.check()
            tell((number + 1) / ROUNDS)
        memory = resident_mebibytes(server.pid)
    ratio = statistics.median(one / other for one, other in zip(among, alone, strict=True))
    figures: dict[str, float | int | str] = {"clients": clients, "p99_ratio": round(ratio, 2)}
    figures["p99_alone_ms"] = ", ".join(f"{1e3 * each:.1f}" for each in alone)
    figures["p99_among_ms"] = ", ".join(f"{1e3 * each:.1f}" for each in among)
    return Report("slow", figures | {"mebibytes": round(memory)})


def _npcs(server: Victim) -> list[str]:
    with grpc.insecure_channel(server.address.grpc) as channel:
        return [Client(channel).create(ARCHETYPE) for _ in range(NPCS)]


def _p99(server: Victim, npcs: list[str], seconds: float) -> float:
    """Seconds from a tick to its decisions that 99 of 100 frames take at most; none may be lost or wrong."""
    with grpc.insecure_channel(server.address.grpc) as channel:
        stream = Stream(Client(channel).acting.Act)
        stream.ask(cast(group(0, ARCHETYPE, dict(enumerate(npcs)))))
        taken: list[float] = []
        first, end = None, time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic()
            result = stream.ask(tick(len(taken), part(0, range(NPCS), SEEN))).tick
            taken.append(time.monotonic() - began)
            first = first or result.parts[0].continuous_actions
            assert (result.number, result.parts[0].continuous_actions) == (len(taken) - 1, first)
            time.sleep(max(0.0, FRAME_SECONDS - taken[-1]))
    return float(np.quantile(taken, 0.99))


@contextlib.contextmanager
def _crowd(server: Victim, clients: int, seed: int, npc: str) -> Iterator[None]:
    """The clients, in a process of their own, until the end of the block."""
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    process = context.Process(target=_be_a_crowd, args=(server.address, clients, seed, npc, ready, stop))
    process.start()
    try:
        assert ready.wait(120), "the clients did not all come"
        yield
        assert process.is_alive(), "the clients ended by themselves"
    finally:
        stop.set()
        process.join(20)
        process.kill()


def _be_a_crowd(address: Address, clients: int, seed: int, npc: str, ready: Event, stop: Event) -> None:
    async def crowd() -> None:
        chance = random.Random(seed)
        kinds = itertools.cycle((_silent, _dripping, _half_a_body, _never_reads, _vanishes))
        tasks = [asyncio.create_task(_for_ever(next(kinds), address, chance, npc)) for _ in range(clients)]
        await asyncio.sleep(2)  # most of them are there
        ready.set()
        while not stop.is_set():
            await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(crowd())


Kind = Callable[[Address, random.Random, str], Awaitable[None]]


async def _for_ever(kind: Kind, address: Address, chance: random.Random, npc: str) -> None:
    """A client of a kind, which comes again some time after it was thrown out."""
    await asyncio.sleep(chance.uniform(0, 1.5))
    while True:
        with contextlib.suppress(OSError, grpc.aio.AioRpcError, asyncio.IncompleteReadError):
            await kind(address, chance, npc)
        await asyncio.sleep(chance.uniform(1, 3))


async def _silent(address: Address, chance: random.Random, npc: str) -> None:
    """Connects, to one port or the other, and says nothing."""
    del npc
    ends = [address.grpc, urlsplit(address.http).netloc]
    host, _, port = chance.choice(ends).rpartition(":")
    reader, _ = await asyncio.open_connection(host, int(port))
    await reader.read()


async def _dripping(address: Address, chance: random.Random, npc: str) -> None:
    """Sends a request line and headers, a byte at a time."""
    del npc
    host, _, port = urlsplit(address.http).netloc.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    for byte in b"POST /npcmeta.v1.NpcService/GetNpc HTTP/1.1\r\nhost: x\r\nx-slow: " + b"a" * 4000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(chance.uniform(0.5, 2))


async def _half_a_body(address: Address, chance: random.Random, npc: str) -> None:
    """Promises a large request over HTTP, and sends a little of it."""
    del chance, npc
    host, _, port = urlsplit(address.http).netloc.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /npcmeta.v1.ActService/ActOnce HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\n"
        b"content-length: 1000000\r\n\r\n" + bytes(1000)
    )
    await reader.read()


async def _never_reads(address: Address, chance: random.Random, npc: str) -> None:
    """Acts, with a frame now and then, and does not look at what comes back."""
    async with grpc.aio.insecure_channel(address.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = act_pb2_grpc.ActServiceStub(channel).Act()
        await call.write(cast(group(0, ARCHETYPE, {0: npc})))
        for number in range(1000):
            await call.write(tick(number, part(0, [0], SEEN[:1])))
            await asyncio.sleep(chance.uniform(5, 15))


async def _vanishes(address: Address, chance: random.Random, npc: str) -> None:
    """Begins to adapt its own NPC, and is gone in the middle of it."""
    async with grpc.aio.insecure_channel(address.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = adapt_pb2_grpc.AdaptServiceStub(channel).Adapt()
        await call.write(adapt_pb2.AdaptRequest(setup=adapt_pb2.AdaptSetup(npc=npc)))
        await call.write(adapt_pb2.AdaptRequest(examples=clip(toys.spec("mixed"), 20)))
        await asyncio.sleep(chance.uniform(5, 15))
