"""Servers to be measured beside ours: an echo without a model, shared weights, and a session for each NPC.

Each is as lean as it can be: no names, no checks, no state, one message parsed and one written for a frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import grpc
import grpc.aio
import numpy as np

from npcmeta_export.runtime import load_session
from npcmeta_server.cli.bench.serving import world
from npcmeta_server.cli.bench.serving.processor import resident_bytes
from npcmeta_server.gen.npcmeta.v1 import act_pb2

Answer = Callable[[bytes], bytes]
OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]
ACT, ECHO = "/npcmeta.v1.ActService/Act", "/npcmeta.bench.Echo/Echo"


def stand(kind: str, model: bytes, sizes: Sequence[int], connection: Connection) -> None:
    """Body of a server's process: says its port and the memory that its models took, and serves until it is ended."""
    before = resident_bytes()
    answer = {"echo": echo, "shared": shared, "sessions": sessions}[kind](model, sizes)
    asyncio.run(_serve(answer, resident_bytes() - before, connection))


def echo(model: bytes, sizes: Sequence[int]) -> Answer:
    """Answers with as many bytes as a server that decides."""
    replies = {len(world.frame(rows)): world.reply(rows) for rows in sizes}
    return lambda request: replies[len(request)]


def shared(model: bytes, sizes: Sequence[int]) -> Answer:
    """One session decides for everybody, with the same weights: no NPC differs from another."""
    session = load_session(model)
    outputs, noise = _outputs(session), _noise(max(sizes))

    def answer(request: bytes) -> bytes:
        part, seen = _read(request)
        feeds = {"observation": seen, "noise": noise[: len(seen)], "action_mask": _mask(len(seen))}
        return _write(part, *session.run(outputs, feeds))

    return answer


def sessions(model: bytes, sizes: Sequence[int]) -> Answer:
    """A session for each NPC, run one after another; they hold the same weights, which costs what others would."""
    held = [load_session(model) for _ in range(max(sizes))]
    outputs, noise, mask = _outputs(held[0]), _noise(1), _mask(1)

    def answer(request: bytes) -> bytes:
        part, seen = _read(request)
        found = [
            held[index].run(outputs, {"observation": seen[row : row + 1], "noise": noise, "action_mask": mask})
            for row, index in enumerate(part.indices)
        ]
        return _write(part, *(np.concatenate(values) for values in zip(*found, strict=True)))

    return answer


def _outputs(session: Any) -> list[str]:
    return [entry.name for entry in session.get_outputs() if entry.name != "head_params"]


def _noise(rows: int) -> np.ndarray:
    return np.zeros((rows, world.CONTINUOUS + sum(world.BRANCHES)), np.float32)


def _mask(rows: int) -> np.ndarray:
    return np.ones((rows, sum(world.BRANCHES)), bool)


def _read(request: bytes) -> tuple[act_pb2.Part, np.ndarray]:
    part = act_pb2.ActRequest.FromString(request).tick.parts[0]
    return part, np.frombuffer(part.observations.data, np.float32).reshape(tuple(part.observations.shape))


def _write(part: act_pb2.Part, continuous: np.ndarray, discrete: np.ndarray) -> bytes:
    result = act_pb2.PartResult(
        group=part.group,
        indices=part.indices,
        continuous_actions=world.tensor(continuous),
        discrete_actions=world.tensor(discrete),
        revisions=[1] * len(part.indices),
    )
    return act_pb2.ActResponse(tick=act_pb2.TickResult(number=1, parts=[result])).SerializeToString()


async def _serve(answer: Answer, memory: int, connection: Connection) -> None:
    async def act(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield answer(request)

    async def same(request: bytes, context: Any) -> bytes:
        return request

    server = grpc.aio.server(options=OPTIONS)
    for path, handler in (
        (ACT, grpc.stream_stream_rpc_method_handler(act)),
        (ECHO, grpc.unary_unary_rpc_method_handler(same)),
    ):
        service, method = path.strip("/").split("/")
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    connection.send((f"127.0.0.1:{port}", memory))
    await server.wait_for_termination()
