"""The HTTP port: the same services as gRPC-Web and as Connect (JSON or binary), for games that cannot speak gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import uvicorn
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from protobuf.wkt import Any as PackedMessage

from npcmeta_server.gen.npcmeta.v1 import act_connect, adapt_connect, archetypes_connect, assets_connect, npcs_connect
from npcmeta_server.ports.grpc_port import as_service_error
from npcmeta_server.ports.surface import Method, Services, methods

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
    """The ASGI application: one path for each service, 404 elsewhere."""
    paths = {
        f"/npcmeta.v1.{name}/": build(
            SimpleNamespace(**{m.python_name: _handler(m) for m in methods(services) if m.service == name}),  # type: ignore[arg-type]
            read_max_bytes=max_message_bytes,
        )
        for name, build in APPLICATIONS.items()
    }

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "")
        for prefix, app in paths.items():
            if path.startswith(prefix) and scope["type"] == "http":
                return await app(scope, receive, send)
        await _not_found(scope, send)

    return answer


async def _not_found(scope: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    text = b"There is nothing here. The services are at /npcmeta.v1.{Service}/{Method}, over gRPC-Web or Connect.\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 404, "headers": headers})
    await send({"type": "http.response.body", "body": text})


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
    known = as_service_error(error, method)
    details = [PackedMessage(type_url=each.type_url, value=each.value) for each in known.status().details]
    return ConnectError(Code[known.code.name], known.message, details)
