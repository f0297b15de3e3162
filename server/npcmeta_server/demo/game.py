"""The game's side of the wire: creates NPCs, streams demonstrations, plays frames, fetches assets. All over gRPC."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

import grpc.aio
import numpy as np

from npcmeta.evaluate import take_examples
from npcmeta.types import Action, Examples
from npcmeta_server import tensors
from npcmeta_server.gen.npcmeta.v1 import (
    act_pb2,
    act_pb2_grpc,
    adapt_pb2,
    adapt_pb2_grpc,
    archetypes_pb2,
    archetypes_pb2_grpc,
    assets_pb2,
    assets_pb2_grpc,
    npcs_pb2,
    npcs_pb2_grpc,
    resources_pb2,
    tensor_pb2,
)

Watch = Callable[[adapt_pb2.AdaptResponse], None]


class Frame(NamedTuple):
    """The answer to one tick."""

    move: np.ndarray  # [n, C] float32
    choice: np.ndarray  # [n, B] int64
    revisions: list[int]
    milliseconds: float  # round trip


class Game:
    """A game client on one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Uses a channel that the caller opens and closes."""
        self._archetypes = archetypes_pb2_grpc.ArchetypeServiceStub(channel)
        self._npcs = npcs_pb2_grpc.NpcServiceStub(channel)
        self._adapt = adapt_pb2_grpc.AdaptServiceStub(channel)
        self._act = act_pb2_grpc.ActServiceStub(channel)
        self._assets = assets_pb2_grpc.AssetServiceStub(channel)

    async def archetypes(self) -> list[str]:
        """Names of the archetypes that the server offers."""
        answer = await self._archetypes.ListArchetypes(archetypes_pb2.ListArchetypesRequest())
        return [archetype.name for archetype in answer.archetypes]

    async def create(self, npc: str, archetype: str) -> None:
        """Creates an NPC called `npc`; it can act at once."""
        wanted = resources_pb2.Npc(archetype=archetype, display_name=npc)
        await self._npcs.CreateNpc(npcs_pb2.CreateNpcRequest(npc_id=npc, npc=wanted))

    async def adapt(self, npc: str, clips: Sequence[tensor_pb2.Examples], watch: Watch) -> None:
        """Streams demonstrations to an NPC and commits; `watch` sees every event as it comes."""
        call = self._adapt.Adapt(_adapt_requests(npc, clips))
        committed = False
        async for event in call:
            watch(event)
            committed = committed or event.WhichOneof("response") == "committed"
        if not committed:
            raise RuntimeError(f"npcs/{npc}: the stream ended without a commit")

    async def act_once(
        self, archetype: str, npc: str, observation: np.ndarray, mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What an NPC would most likely do at each observation [n, O]: moves [n, C] and choices [n, B]."""
        request = act_pb2.ActOnceRequest(
            archetype=archetype, npcs=[f"npcs/{npc}"] * len(observation), observations=tensors.write(observation)
        )
        if mask.shape[1]:
            tensors.write(mask, request.action_mask)
        answer = await self._act.ActOnce(request)
        return array(answer.continuous_actions, len(observation)), array(answer.discrete_actions, len(observation))

    async def fetch(self, name: str) -> bytes:
        """Fetches an asset and checks its digest."""
        header, data = assets_pb2.AssetHeader(), bytearray()
        async for message in self._assets.FetchAsset(assets_pb2.FetchAssetRequest(name=name)):
            if message.WhichOneof("response") == "header":
                header = message.header
            else:
                data += message.chunk
        if hashlib.sha256(data).hexdigest() != header.sha256:
            raise RuntimeError(f"{name}: the bytes do not match the digest in their header")
        return bytes(data)

    async def stage(self, archetype: str, npcs: Sequence[str]) -> Stage:
        """Opens an Act stream with these NPCs in one group."""
        stage = Stage(self._act.Act())
        await stage.cast(archetype, npcs)
        return stage


class Stage:
    """An open Act stream whose group 0 holds every NPC of the cast, indexed in order."""

    def __init__(self, call: grpc.aio.StreamStreamCall) -> None:
        """Wraps a call that was just opened."""
        self._call = call
        self._number = 0
        self._indices: list[int] = []

    async def cast(self, archetype: str, npcs: Sequence[str]) -> None:
        """Puts the NPCs on stage; raises RuntimeError if one is refused."""
        members = [act_pb2.Member(index=i, npc=f"npcs/{npc}") for i, npc in enumerate(npcs)]
        group = act_pb2.Group(group=0, archetype=archetype, members=members, sampled=True)
        await self._call.write(act_pb2.ActRequest(cast=act_pb2.Cast(groups=[group])))
        answer = await self._read()
        for result in answer.cast.groups:
            if result.status.code or result.refused:
                raise RuntimeError(f"the cast was refused: {result}")
        self._indices = list(range(len(npcs)))

    async def frame(self, observation: np.ndarray, mask: np.ndarray) -> Frame:
        """Plays one frame: observations [n, O] in, decisions out."""
        part = act_pb2.Part(
            group=0, observations=tensors.write(observation), action_mask=tensors.write(mask), indices=self._indices
        )
        started = time.perf_counter()
        await self._call.write(act_pb2.ActRequest(tick=act_pb2.Tick(number=self._number, parts=[part])))
        answer = await self._read()
        milliseconds = 1e3 * (time.perf_counter() - started)
        result = answer.tick.parts[0]
        if result.status.code or answer.tick.number != self._number:
            raise RuntimeError(f"frame {self._number} was refused: {result.status.message}")
        self._number += 1
        return Frame(
            array(result.continuous_actions), array(result.discrete_actions), list(result.revisions), milliseconds
        )

    async def _read(self) -> act_pb2.ActResponse:
        answer: object = await self._call.read()
        if not isinstance(answer, act_pb2.ActResponse):
            raise RuntimeError("the server ended the Act stream")
        return answer

    async def close(self) -> None:
        """Leaves the stage."""
        await self._call.done_writing()


def clip(examples: Examples, row: int, first: int, last: int) -> tensor_pb2.Examples:
    """Steps `first` to `last` of one character as a demonstration on the wire."""
    one = take_examples(examples, slice(row, row + 1))
    taken: Action = one.action
    message = tensor_pb2.Examples(observations=tensors.write(one.observation[0, first:last].numpy()))
    if taken.continuous.shape[-1]:
        tensors.write(taken.continuous[0, first:last].numpy(), message.continuous_actions)
    if taken.discrete.shape[-1]:
        tensors.write(taken.discrete[0, first:last].numpy(), message.discrete_actions)
        tensors.write(one.action_mask[0, first:last].numpy(), message.action_mask)
    return message


def array(message: tensor_pb2.Tensor, rows: int = 0) -> np.ndarray:
    """An array off the wire; what is absent has `rows` rows and no columns."""
    if not message.shape:
        return np.zeros((rows, 0), np.float32)
    return np.frombuffer(message.data, tensors.DTYPES[message.data_type]).reshape(tuple(message.shape))


async def _adapt_requests(npc: str, clips: Sequence[tensor_pb2.Examples]) -> AsyncIterator[adapt_pb2.AdaptRequest]:
    yield adapt_pb2.AdaptRequest(setup=adapt_pb2.AdaptSetup(npc=f"npcs/{npc}"))
    for examples in clips:
        yield adapt_pb2.AdaptRequest(examples=examples)
    yield adapt_pb2.AdaptRequest(commit=adapt_pb2.Commit())
