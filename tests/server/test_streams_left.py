"""Streams that end early: what they hold is let go of there and then, not when the garbage collector comes by."""

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import grpc.aio
import pytest

from npcmeta_server import metrics
from npcmeta_server.gen.npcmeta.v1 import (
    act_pb2,
    act_pb2_grpc,
    adapt_pb2,
    adapt_pb2_grpc,
    archetypes_pb2,
    archetypes_pb2_grpc,
    npcs_pb2,
    npcs_pb2_grpc,
    resources_pb2,
)
from npcmeta_server.gen.open_inference import inference_pb2
from npcmeta_server.serving import Running, Settings, running
from tests import toys
from tests.server.client import adapt_requests, cast, clip, group, observations, part, tick

SPEC = toys.spec("mixed")
Left = Callable[[grpc.aio.Channel, str], Awaitable[None]]


@pytest.fixture
async def server(archetype_folder: Path, tmp_path: Path) -> AsyncIterator[Running]:
    settings = Settings(archetype_folder, f"sqlite:///{tmp_path / 'npcs.db'}", "127.0.0.1", 0, 0)
    async with running(settings) as started:
        yield started


@contextlib.contextmanager
def forgotten() -> Iterator[list[str]]:
    """The names of generators that were begun in here and left to the garbage collector."""
    begin, left = sys.get_asyncgen_hooks()
    found: list[str] = []

    def finalise(generator: AsyncGenerator[object, object]) -> None:
        found.append(generator.__qualname__)
        left(generator)

    sys.set_asyncgen_hooks(begin, finalise)
    try:
        yield found
    finally:
        sys.set_asyncgen_hooks(begin, left)


async def act(channel: grpc.aio.Channel, npc: str) -> grpc.aio.StreamStreamCall:
    call = act_pb2_grpc.ActServiceStub(channel).Act()
    await call.write(cast(group(0, "guard", {0: npc})))
    assert (await call.read()).cast.groups[0].indices == [0]
    return call


async def game_that_vanishes(channel: grpc.aio.Channel, npc: str) -> None:
    (await act(channel, npc)).cancel()


async def game_that_says_nonsense(channel: grpc.aio.Channel, npc: str) -> None:
    call = await act(channel, npc)
    await call.write(act_pb2.ActRequest())
    with pytest.raises(grpc.aio.AioRpcError, match="expected a cast or a tick"):
        await call.read()


async def game_that_does_not_read(channel: grpc.aio.Channel, npc: str) -> None:
    call = await act(channel, npc)
    frame = tick(1, part(0, [0] * 5000, observations(5000)))
    with contextlib.suppress(TimeoutError, asyncio.CancelledError):
        for _ in range(1000):
            await asyncio.wait_for(call.write(frame), 2)
    call.cancel()


async def designer_who_vanishes(channel: grpc.aio.Channel, npc: str) -> None:
    call = adapt_pb2_grpc.AdaptServiceStub(channel).Adapt()
    for request in adapt_requests(npc, clip(SPEC, 20))[:-1]:
        await call.write(request)
        await call.read()
    call.cancel()


async def designer_who_commits(channel: grpc.aio.Channel, npc: str) -> None:
    call = adapt_pb2_grpc.AdaptServiceStub(channel).Adapt()
    for request in adapt_requests(npc, clip(SPEC, 20)):
        await call.write(request)
    assert [each.WhichOneof("response") async for each in call][-1] == "committed"


async def designer_who_asks_at_once_and_vanishes(channel: grpc.aio.Channel, npc: str) -> None:
    wanted = adapt_pb2.AdaptOnceRequest(setup=adapt_pb2.AdaptSetup(npc=npc), examples=[clip(SPEC, 20)])
    call = adapt_pb2_grpc.AdaptServiceStub(channel).AdaptOnce(wanted)
    await call.read()
    call.cancel()


async def upload_that_is_none(channel: grpc.aio.Channel, npc: str) -> None:
    setup = archetypes_pb2.UploadSetup(archetype="archetypes/guard")
    request = archetypes_pb2.UploadArchetypeRequest(setup=setup)
    call = archetypes_pb2_grpc.ArchetypeServiceStub(channel).UploadArchetype(iter([request, request]))
    with pytest.raises(grpc.aio.AioRpcError, match="expected chunks"):
        await call


async def inference_that_vanishes(channel: grpc.aio.Channel, npc: str) -> None:
    ask = channel.stream_stream(
        "/inference.GRPCInferenceService/ModelStreamInfer",
        inference_pb2.ModelInferRequest.SerializeToString,
        inference_pb2.ModelStreamInferResponse.FromString,
    )
    call = ask()
    await call.write(inference_pb2.ModelInferRequest(model_name="nobody"))
    await call.read()
    call.cancel()


@pytest.mark.parametrize(
    "left",
    [
        game_that_vanishes,
        game_that_says_nonsense,
        game_that_does_not_read,
        designer_who_vanishes,
        designer_who_commits,
        designer_who_asks_at_once_and_vanishes,
        upload_that_is_none,
        inference_that_vanishes,
    ],
)
async def test_a_stream_that_is_left_closes_all_of_itself(server: Running, left: Left) -> None:
    wanted = npcs_pb2.CreateNpcRequest(npc=resources_pb2.Npc(archetype="archetypes/guard"))
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        npc = (await npcs_pb2_grpc.NpcServiceStub(channel).CreateNpc(wanted)).name
        with forgotten() as found:
            await left(channel, npc)
            while metrics.CALLS._value.get():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            gc.collect()
    assert found == []
