"""The load generator: a process that plays a game client, and one that plays designers who adapt."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import grpc.aio

from npcmeta_server.cli.bench.serving import mlserver, world
from npcmeta_server.cli.bench.serving.stand_ins import ACT, ECHO, OPTIONS
from npcmeta_server.gen.npcmeta.v1 import adapt_pb2

ADAPT = "/npcmeta.v1.AdaptService/AdaptOnce"


class Sent(NamedTuple):
    """A frame and what became of it; times in seconds of the system's monotonic clock."""

    due: float
    sent: float
    replied: float
    reply: bytes


class Taught(NamedTuple):
    """An adaptation that was acknowledged."""

    npc: int
    sent: float
    committed: float
    revision: int


def play(addresses: Mapping[str, str], openings: Mapping[str, bytes], connection: Connection) -> None:
    """Body of the game client's process: one stream to each server, frames on command."""
    gc.disable()
    asyncio.run(_play(addresses, openings, connection))


async def _play(addresses: Mapping[str, str], openings: Mapping[str, bytes], connection: Connection) -> None:
    streams = {}
    for name, address in addresses.items():
        channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        streams[name] = _Calls(channel) if name == mlserver.NAME else channel.stream_stream(ACT)()  # type: ignore[call-arg]
        if name in openings:
            await streams[name].write(openings[name])
            await streams[name].read()
    connection.send(sorted(streams))
    while True:
        kind, name, request, amount, period = connection.recv()
        stream = streams[name]
        if kind == "lockstep":
            connection.send([await _one(stream, request) for _ in range(amount)])
        else:
            connection.send(await _paced(stream, request, amount, period))


class _Calls:
    """A call for each message, of a server that has no stream for it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._infer = channel.unary_unary(mlserver.INFER)  # type: ignore[call-arg]

    async def write(self, request: bytes) -> None:
        self._call = self._infer(request)

    async def read(self) -> bytes:
        return await self._call


async def _one(stream: Any, request: bytes) -> float:
    """Seconds from a frame to its reply."""
    began = time.perf_counter()
    await stream.write(request)
    await stream.read()
    return time.perf_counter() - began


async def _paced(stream: Any, request: bytes, duration: float, period: float) -> list[Sent]:
    """A frame each `period`; what comes late waits, and its waiting counts."""
    frames: list[Sent] = []
    began = time.monotonic()
    while (due := began + len(frames) * period) < began + duration:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        sent = time.monotonic()
        await stream.write(request)
        reply = await stream.read()
        frames.append(Sent(due, sent, time.monotonic(), reply))
    return frames


def teach(address: str, echo: str, connection: Connection) -> None:
    """Body of the designers' process: adaptations on command."""
    asyncio.run(_teach(address, echo, connection))


async def _teach(address: str, echo: str, connection: Connection) -> None:
    adapt = grpc.aio.insecure_channel(address, options=OPTIONS).unary_stream(
        ADAPT, adapt_pb2.AdaptOnceRequest.SerializeToString, adapt_pb2.AdaptResponse.FromString
    )
    same = grpc.aio.insecure_channel(echo, options=OPTIONS).unary_unary(ECHO)  # type: ignore[call-arg]
    connection.send("ready")
    while True:
        kind, first, clients, amount = connection.recv()
        if kind == "echo":
            request = world.lesson(first, 0).SerializeToString()
            began = time.perf_counter()
            await same(request)
            connection.send(time.perf_counter() - began)
        elif kind == "lessons":
            crowd = (_lessons(adapt, first + client, amount) for client in range(clients))
            connection.send([taught for one in await asyncio.gather(*crowd) for taught in one])
        else:
            connection.send(await _for_a_while(adapt, first, clients, amount))


async def _lessons(adapt: Any, npc: int, count: int) -> list[Taught]:
    return [await _lesson(adapt, npc, seed) for seed in range(count)]


async def _for_a_while(adapt: Any, first: int, npcs: int, duration: float) -> list[Taught]:
    """One adaptation behind another, of some NPCs in turn."""
    taught: list[Taught] = []
    began = time.monotonic()
    while time.monotonic() - began < duration:
        taught.append(await _lesson(adapt, first + len(taught) % npcs, len(taught)))
    return taught


async def _lesson(adapt: Any, npc: int, seed: int) -> Taught:
    request = world.lesson(npc, seed)
    sent = time.monotonic()
    async for response in adapt(request):
        last = response
    return Taught(npc, sent, time.monotonic(), last.committed.revision.number)
