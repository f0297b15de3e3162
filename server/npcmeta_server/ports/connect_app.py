"""The services as gRPC-Web and as Connect (JSON or binary): an ASGI application."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from connectrpc.code import Code
from connectrpc.codec import Codec
from connectrpc.compat import google_protobuf_codecs
from connectrpc.errors import ConnectError

from npcmeta_server.access.gate import Gate, current, peer
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import (
    act_connect,
    adapt_connect,
    archetypes_connect,
    assets_connect,
    npcs_connect,
    upgrades_connect,
)
from npcmeta_server.limits import BODY_SECONDS
from npcmeta_server.ports.connect_gate import ConnectGate, as_connect
from npcmeta_server.ports.surface import (
    Method,
    Services,
    as_service_error,
    methods,
    not_a_message,
    unknown_method,
)
from npcmeta_server.ports.web_text import Application, web_text

APPLICATIONS = {
    "ArchetypeService": archetypes_connect.ArchetypeServiceASGIApplication,
    "UpgradeService": upgrades_connect.UpgradeServiceASGIApplication,
    "NpcService": npcs_connect.NpcServiceASGIApplication,
    "ActService": act_connect.ActServiceASGIApplication,
    "AdaptService": adapt_connect.AdaptServiceASGIApplication,
    "AssetService": assets_connect.AssetServiceASGIApplication,
}


def application(
    services: Services, max_message_bytes: int, gate: Gate, pages: Mapping[str, Application]
) -> Application:
    """One path for each method, behind the gate; some pages; and an error of ours elsewhere."""
    codecs = [_Checked(codec) for codec in google_protobuf_codecs()]
    paths = dict(pages)
    for name, build in APPLICATIONS.items():
        own = [method for method in methods(services) if method.service == name]
        answers: Any = SimpleNamespace(**{method.python_name: _handler(method) for method in own})
        app = build(answers, read_max_bytes=max_message_bytes, codecs=codecs, interceptors=(ConnectGate(gate),))
        paths |= {f"/npcmeta.v1.{name}/{m.name}": _told(app if m.takes_stream else _in_time(app), m) for m in own}

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            peer.set(f"http:{(scope.get('client') or ('',))[0]}")
            await paths.get(scope["path"], _not_found)(scope, receive, send)

    return web_text(answer)


def _in_time(app: Application) -> Application:
    """Gives up a client that does not get its request over, so that it does not hold a place."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        deadline: float | None = asyncio.get_running_loop().time() + BODY_SECONDS

        async def received() -> Any:
            nonlocal deadline
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                return {"type": "http.disconnect"}
            if not message.get("more_body", False):
                deadline = None  # it is there; what follows is the client's going away
            return message

        await app(scope, received, send)

    return answer


def _told(app: Application, method: Method) -> Application:
    """Says what to send, where connectrpc answers a request that speaks no protocol of ours with a bare status."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        bare = 0

        async def sent(message: Any) -> None:
            nonlocal bare
            if message["type"] == "http.response.start" and message["status"] in (405, 415):
                bare = message["status"]
            elif not bare:
                await send(message)
            elif not message.get("more_body", False):
                await refuse(send, bare, _no_protocol(scope, method), [(b"allow", b"POST")])

        await app(scope, receive, sent)

    return answer


def _no_protocol(scope: Any, method: Method) -> ServiceError:
    came = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")[:80]
    streams = method.takes_stream or method.gives_stream
    expected = "application/connect+json (each message behind a byte of flags and four of length)"
    return ServiceError(
        "INVALID_ARGUMENT",
        f'{method.name} came as {scope["method"]} with content-type "{came}", expected POST with '
        f"{expected if streams else 'application/json'}, or application/grpc-web+proto",
        field="content-type",
    )


async def refuse(send: Any, status: int, error: ServiceError, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """Answers as Connect does, whoever asks."""
    details = [
        {
            "type": detail.TypeName(),
            "value": base64.b64encode(detail.value).decode().rstrip("="),
            "debug": error.info(),
        }
        for detail in error.status().details
    ]
    text = json.dumps({"code": Code[error.code.name].value, "message": error.message, "details": details})
    await send_text(send, status, "application/json", text.encode(), headers)


async def send_text(
    send: Any, status: int, content_type: str, text: bytes, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """A whole answer."""
    own = [(b"content-type", content_type.encode()), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": text})


async def _not_found(scope: Any, receive: Any, send: Any) -> None:
    await refuse(send, 404, unknown_method(scope["path"]))


class _Checked:
    """A codec whose complaints are errors of ours, and by which every message is counted."""

    def __init__(self, codec: Codec[Any, Any]) -> None:
        self._codec = codec
        self.name, self.encode = codec.name, codec.encode

    def decode(self, data: bytes | bytearray, message_class: Any) -> Any:
        try:
            if (call := current.get()) is not None:
                call.message(len(data))
            return self._codec.decode(data, message_class)
        except ServiceError as error:
            raise as_connect(error) from error
        except Exception as error:  # of whatever kind: the bytes are anybody's
            raise as_connect(not_a_message(message_class, error)) from error


def _handler(method: Method) -> Any:
    """The method with the errors of Connect."""
    if method.gives_stream:

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                async with contextlib.aclosing(method.answer(request)) as responses:
                    async for response in responses:
                        yield response
            except Exception as error:
                raise _connect_error(error, method) from error

        return stream

    async def single(request: Any, context: Any) -> Any:
        try:
            return await method.answer(request)
        except Exception as error:
            raise _connect_error(error, method) from error

    return single


def _connect_error(error: Exception, method: Method) -> ConnectError:
    return error if isinstance(error, ConnectError) else as_connect(as_service_error(error, method))
