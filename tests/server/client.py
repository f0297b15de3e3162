"""A small synchronous client over the generated stubs, and what tests need to speak with it."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import numpy as np
from google.rpc import error_details_pb2, status_pb2

from npcmeta.types import BehaviorSpec
from npcmeta_server import tensors
from npcmeta_server.gen.npcmeta.v1 import (
    act_pb2,
    act_pb2_grpc,
    adapt_pb2,
    adapt_pb2_grpc,
    archetypes_pb2_grpc,
    assets_pb2,
    assets_pb2_grpc,
    npcs_pb2,
    npcs_pb2_grpc,
    resources_pb2,
    tensor_pb2,
)
from tests import toys


class Client:
    """Every service on one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.archetypes = archetypes_pb2_grpc.ArchetypeServiceStub(channel)
        self.npcs = npcs_pb2_grpc.NpcServiceStub(channel)
        self.acting = act_pb2_grpc.ActServiceStub(channel)
        self.adapting = adapt_pb2_grpc.AdaptServiceStub(channel)
        self.assets = assets_pb2_grpc.AssetServiceStub(channel)

    def create(self, archetype: str, npc_id: str = "", **more: Any) -> str:
        wanted = resources_pb2.Npc(archetype=f"archetypes/{archetype}", **more)
        return self.npcs.CreateNpc(npcs_pb2.CreateNpcRequest(npc_id=npc_id, npc=wanted)).name

    def get(self, npc: str) -> resources_pb2.Npc:
        return self.npcs.GetNpc(npcs_pb2.GetNpcRequest(name=npc))

    def adapt(self, npc: str, *clips: tensor_pb2.Examples, **setup: Any) -> list[adapt_pb2.AdaptResponse]:
        return list(self.adapting.Adapt(iter(adapt_requests(npc, *clips, **setup))))

    def act_once(self, archetype: str, npcs: Sequence[str], seen: np.ndarray, **more: Any) -> act_pb2.ActOnceResponse:
        request = act_pb2.ActOnceRequest(
            archetype=f"archetypes/{archetype}", npcs=npcs, observations=tensors.write(seen), **more
        )
        return self.acting.ActOnce(request)

    def fetch(self, name: str) -> tuple[assets_pb2.AssetHeader, bytes]:
        first, *rest = self.assets.FetchAsset(assets_pb2.FetchAssetRequest(name=name))
        return first.header, b"".join(message.chunk for message in rest)


class Stream:
    """A bidirectional stream, one message at a time."""

    def __init__(self, method: Callable[[Iterator[Any]], Any]) -> None:
        self._requests: queue.Queue[Any] = queue.Queue()
        self.call = method(iter(self._requests.get, None))

    def send(self, request: Any) -> None:
        self._requests.put(request)

    def ask(self, request: Any) -> Any:
        self.send(request)
        return next(self.call)

    def close(self) -> None:
        self._requests.put(None)


def adapt_requests(npc: str, *clips: tensor_pb2.Examples, **setup: Any) -> list[adapt_pb2.AdaptRequest]:
    begin = adapt_pb2.AdaptRequest(setup=adapt_pb2.AdaptSetup(npc=npc, **setup))
    shown = [adapt_pb2.AdaptRequest(examples=clip) for clip in clips]
    return [begin, *shown, adapt_pb2.AdaptRequest(commit=adapt_pb2.Commit())]


def group(number: int, archetype: str, members: dict[int, str], *, sampled: bool = False) -> act_pb2.Group:
    named = [act_pb2.Member(index=index, npc=npc) for index, npc in members.items()]
    name = f"archetypes/{archetype}" if archetype else ""
    return act_pb2.Group(group=number, archetype=name, members=named, sampled=sampled)


def cast(*groups: act_pb2.Group, removals: Sequence[act_pb2.Removal] = ()) -> act_pb2.ActRequest:
    return act_pb2.ActRequest(cast=act_pb2.Cast(groups=groups, removals=removals))


def part(number: int, indices: Sequence[int], seen: np.ndarray) -> act_pb2.Part:
    return act_pb2.Part(group=number, indices=indices, observations=tensors.write(seen))


def tick(number: int, *parts: act_pb2.Part) -> act_pb2.ActRequest:
    return act_pb2.ActRequest(tick=act_pb2.Tick(number=number, parts=parts))


def observations(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, toys.OBSERVATION)).astype(np.float32)


def clip(spec: BehaviorSpec, rows: int = 50, seed: int = 0) -> tensor_pb2.Examples:
    """A character that always does the same, whatever it sees."""
    message = tensor_pb2.Examples(observations=tensors.write(observations(rows, seed)))
    if size := spec.action.continuous_size:
        message.continuous_actions.CopyFrom(tensors.write(np.full((rows, size), 0.7, np.float32)))
    if sizes := spec.action.branch_sizes:
        message.discrete_actions.CopyFrom(tensors.write(np.tile(np.array(sizes, np.int64) - 1, (rows, 1))))
    return message


def array(message: tensor_pb2.Tensor) -> np.ndarray:
    return np.frombuffer(message.data, tensors.DTYPES[message.data_type]).reshape(tuple(message.shape))


def info_of(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


def refusal(error: grpc.RpcError) -> tuple[grpc.StatusCode, str, str]:
    """Code, reason and message of an error that came with its ErrorInfo."""
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    info = info_of(status)
    assert info.domain == "npcmeta"
    assert status.message == error.details()
    return error.code(), info.reason, error.details()
