"""The HTTP port: the same services as gRPC-Web and as Connect (JSON or binary), for games that cannot speak gRPC."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import uvicorn
from connectrpc.code import Code
from connectrpc.codec import Codec
from connectrpc.compat import google_protobuf_codecs
from connectrpc.errors import ConnectError
from protobuf.wkt import Any as PackedMessage

from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import act_connect, adapt_connect, archetypes_connect, assets_connect, npcs_connect
from npcmeta_server.ports.surface import (
    Method,
    Services,
    as_service_error,
    methods,
    not_a_message,
    unknown_method,
)

APPLICATIONS = {
    "ArchetypeService": archetypes_connect.ArchetypeServiceASGIApplication,
    "NpcService": npcs_connect.NpcServiceASGIApplication,
    "ActService": act_connect.ActServiceASGIApplication,
    "AdaptService": adapt_connect.AdaptServiceASGIApplication,
    "AssetService": assets_connect.AssetServiceASGIApplication,
}

Application = Callable[[Any, Any, Any], Awaitable[None]]


class HttpPort:
    """An HTTP server for the services."""

    def __init__(self, services: Services, host: str, port: int, max_message_bytes: int) -> None:
        """Binds the address; port 0 lets the system choose.

        Raises:
            OSError: If the port is taken or the address is not ours.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=512)
        except OSError as error:
            raise OSError(f"cannot listen on {host}:{port}: is the port taken? ({error.strerror})") from error
        # Accepted connections inherit it; without it, answers on a kept connection wait 40 ms for an acknowledgement.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        app = application(services, max_message_bytes)
        config = uvicorn.Config(app, lifespan="off", access_log=False, log_level="warning", log_config=None)
        self._server = _WithoutSignals(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._socket.getsockname()[1]
        return port

    async def start(self) -> None:
        """Begins to answer."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0.01)

    async def stop(self, grace: float) -> None:
        """Ends requests that take longer than `grace` seconds."""
        self._server.config.timeout_graceful_shutdown = max(1, round(grace))
        self._server.should_exit = True
        if self._task is not None:
            await self._task


class _WithoutSignals(uvicorn.Server):
    """Leaves signals to whoever runs both ports."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def application(services: Services, max_message_bytes: int) -> Application:
    """The ASGI application: one path for each method, and an error of ours elsewhere."""
    codecs = [_Checked(codec) for codec in google_protobuf_codecs()]
    paths: dict[str, Application] = {}
    for name, build in APPLICATIONS.items():
        own = [method for method in methods(services) if method.service == name]
        answers: Any = SimpleNamespace(**{method.python_name: _handler(method) for method in own})
        app = build(answers, read_max_bytes=max_message_bytes, codecs=codecs)
        paths |= {f"/npcmeta.v1.{name}/{method.name}": app for method in own}

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await paths.get(scope["path"], _not_found)(scope, receive, send)

    return answer


async def _not_found(scope: Any, receive: Any, send: Any) -> None:
    """Answers as Connect does, whoever asks."""
    error = unknown_method(scope["path"])
    details = [
        {"type": detail.TypeName(), "value": base64.b64encode(detail.value).decode().rstrip("=")}
        for detail in error.status().details
    ]
    text = json.dumps({"code": Code[error.code.name].value, "message": error.message, "details": details}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": text})


class _Checked:
    """A codec whose complaints are errors of ours."""

    def __init__(self, codec: Codec[Any, Any]) -> None:
        self._codec = codec
        self.name, self.encode = codec.name, codec.encode

    def decode(self, data: bytes | bytearray, message_class: Any) -> Any:
        try:
            return self._codec.decode(data, message_class)
        except Exception as error:  # of whatever kind: the bytes are anybody's
            raise _as_connect(not_a_message(message_class, error)) from error


def _handler(method: Method) -> Any:
    """The method with the errors of Connect."""
    if method.gives_stream:

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                async for response in method.answer(request):
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
    if isinstance(error, ConnectError):
        return error
    return _as_connect(as_service_error(error, method))


def _as_connect(error: ServiceError) -> ConnectError:
    details = [PackedMessage(type_url=each.type_url, value=each.value) for each in error.status().details]
    return ConnectError(Code[error.code.name], error.message, details)
