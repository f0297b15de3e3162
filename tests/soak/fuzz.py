"""Messages that nobody should send, over gRPC and over HTTP: no crash, no fault of ours, no leak, right codes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from npcmeta_server.errors import REASONS
from npcmeta_server.gen.npcmeta.v1 import adapt_pb2
from npcmeta_server.ports.surface import FILES
from tests import toys
from tests.server.client import Client, clip, observations, refusal
from tests.soak.messages import Source
from tests.soak.report import Report, Tell
from tests.soak.victim import ARCHETYPE, Victim, resident_mebibytes, victim

METHODS = [
    (f"/{service.full_name}/{method.name}", GetMessageClass(method.input_type), method.client_streaming,
     method.server_streaming)
    for file in FILES for service in file.services_by_name.values() for method in service.methods
]  # fmt: skip
OFTEN = [method for method in METHODS if method[0].endswith("/Act")]
"""A stream whose messages fail one by one: most messages of a game go there."""
AT_ONCE = 32
ON_ONE_STREAM = 200
CODES = {reason.code for reason in REASONS.values()} - {grpc.StatusCode.INTERNAL}
HTTP_STATUSES = {200, 400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 429, 499, 501, 503, 504}
KINDS = ("application/json", "application/proto", "application/grpc-web+proto", "application/connect+json",
         "application/connect+proto", "text/plain", "application/grpc-web-text")  # fmt: skip
GROWTH = 1.15
"""How much more memory it may have at the end than after the first fifth."""


def run(folder: Path, messages: int, seed: int, tell: Tell) -> Report:
    """Sends so many messages, four fifths of them over gRPC."""
    with victim(folder) as server:
        return asyncio.run(_run(server, messages, seed, tell))


async def _run(server: Victim, messages: int, seed: int, tell: Tell) -> Report:
    with grpc.insecure_channel(server.address.grpc) as channel:
        client = Client(channel)
        names = [client.create(ARCHETYPE, f"npc-{number}") for number in range(8)]
        for npc in names:
            client.adapt(npc, clip(toys.spec("mixed"), 20))
    names += ["archetypes/guard", "archetypes/guard/assets/policy", "npcs/npc-1/assets/state", "npcs/npc-1/revisions/1"]
    codes: Counter[str] = Counter()
    after_a_fifth = 0.0
    for fifth in range(5):
        source = Source(seed + fifth, names)
        await _over_grpc(server, source, messages * 4 // 25, codes)
        tell((fifth + 0.8) / 5)
        await _over_http(server, source, messages // 25, codes)
        server.check()
        after_a_fifth = after_a_fifth or resident_mebibytes(server.pid)
        tell((fifth + 1) / 5)
    _still_works(server)
    at_the_end = resident_mebibytes(server.pid)
    assert at_the_end < GROWTH * after_a_fifth, f"{after_a_fifth:.0f} MiB after a fifth, {at_the_end:.0f} at the end"
    figures = {"messages": messages, "mebibytes_then": round(after_a_fifth), "mebibytes": round(at_the_end)}
    return Report("fuzz", figures | {"answers": ", ".join(f"{code} {count:,}" for code, count in codes.most_common())})


async def _over_grpc(server: Victim, source: Source, messages: int, codes: Counter[str]) -> None:
    left = messages
    async with grpc.aio.insecure_channel(server.address.grpc) as channel:

        async def work() -> None:
            nonlocal left
            while left > 0:
                took = await _call(channel, source, codes)
                left -= took

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def _call(channel: grpc.aio.Channel, source: Source, codes: Counter[str]) -> int:
    """One call; how many messages were answered, those of a stream one by one as far as it does."""
    path, kind, takes_stream, gives_stream = source.chance.choice(OFTEN if source.chance.random() < 0.15 else METHODS)
    answered = 0
    try:
        if takes_stream:
            requests = source.stream(kind, ON_ONE_STREAM)
            call = (channel.stream_stream if gives_stream else channel.stream_unary)(path)(requests, timeout=60)
            async for _ in _responses(call, gives_stream):
                answered += 1
                codes["OK"] += 1
            return max(1, answered)
        data = source.message(kind)
        if gives_stream:
            async for _ in channel.unary_stream(path)(data, timeout=60):
                pass
        else:
            await channel.unary_unary(path)(data, timeout=60)
        codes["OK"] += 1
    except grpc.aio.AioRpcError as error:
        if error.details() == "Internal error from Core":  # ours: it has written to a stream that had ended
            return max(1, answered)
        assert error.code() in CODES, (path, error)
        refusal(error)  # has an ErrorInfo
        codes[error.code().name] += 1
    return answered + 1


async def _responses(call: Any, many: bool) -> AsyncIterator[bytes]:
    if not many:
        yield await call
        return
    async for response in call:
        yield response


async def _over_http(server: Victim, source: Source, messages: int, codes: Counter[str]) -> None:
    left = messages
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(base_url=server.address.http, limits=limits, timeout=60) as client:

        async def work() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                path, kind, *_ = source.chance.choice(METHODS)
                headers = {"content-type": source.chance.choice(KINDS), "connect-protocol-version": "1"}
                answer = await client.post(path, content=_body(source, kind, headers["content-type"]), headers=headers)
                assert answer.status_code in HTTP_STATUSES, (path, headers, answer.status_code, answer.text)
                assert "traceback" not in answer.text.lower()
                codes[f"HTTP {answer.status_code}"] += 1

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))


def _body(source: Source, kind: type, content_type: str) -> bytes:
    """What the content type says, or something else."""
    data = source.message(kind)
    if "json" in content_type and source.chance.random() < 0.8:
        try:
            data = json_format.MessageToJson(kind.FromString(data)).encode()  # type: ignore[attr-defined]
        except (DecodeError, json_format.Error, ValueError):
            data = b'{"name": ' + data[:20]
    if "+" in content_type and source.chance.random() < 0.8:
        length = len(data) if source.chance.random() < 0.8 else source.chance.randrange(1 << 32)
        data = bytes([source.chance.choice((0, 0, 0, 1, 2, 128, 255))]) + length.to_bytes(4, "big") + data
    return data


def _still_works(server: Victim) -> None:
    with grpc.insecure_channel(server.address.grpc) as channel:
        client = Client(channel)
        npc = client.create(ARCHETYPE)
        before = client.act_once(ARCHETYPE, [npc], observations(1)).continuous_actions
        told = client.adapt(npc, clip(toys.spec("mixed"), 20))[-1]
        assert isinstance(told, adapt_pb2.AdaptResponse)
        assert told.committed.revision.number == 2
        assert client.act_once(ARCHETYPE, [npc], observations(1)).continuous_actions != before
