"""The HTTP port: gRPC-Web and Connect for games that cannot speak gRPC, and pages for whoever runs the server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Any

import uvicorn
from starlette.middleware.cors import CORSMiddleware

from npcmeta_server.access.gate import REQUEST_ID_HEADER, Gate
from npcmeta_server.limits import IDLE_SECONDS
from npcmeta_server.ports import pages
from npcmeta_server.ports.connect_app import Application, application
from npcmeta_server.ports.head_in_time import HeadInTime
from npcmeta_server.ports.surface import Services

ALLOWED_HEADERS = (
    "authorization", "content-type", "connect-protocol-version", "connect-timeout-ms", "grpc-timeout", "x-grpc-web",
    "x-user-agent", REQUEST_ID_HEADER,
)  # fmt: skip
SHOWN_HEADERS = ("grpc-status", "grpc-message", "grpc-status-details-bin", REQUEST_ID_HEADER)


class HttpPort:
    """An HTTP server for the services."""

    def __init__(
        self,
        services: Services,
        host: str,
        port: int,
        max_message_bytes: int,
        gate: Gate,
        tls: ssl.SSLContext | None = None,
        origins: Sequence[str] = (),
    ) -> None:
        """Binds the address; port 0 lets the system choose. Web pages of `origins` may call.

        Raises:
            OSError: If the port is taken or the address is not ours.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()  # "::" is all addresses, as for gRPC
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=512, dualstack_ipv6=both)
        except OSError as error:
            raise OSError(f"cannot listen on {host}:{port}: is the port taken? ({error.strerror})") from error
        # Accepted connections inherit it; without it, answers on a kept connection wait 40 ms for an acknowledgement.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._serving = False
        shown = {"/health": pages.health(lambda: self._serving), "/metrics": pages.metrics(gate)}
        app = application(services, max_message_bytes, gate, shown)
        config = uvicorn.Config(
            _for_origins(app, origins),
            http=HeadInTime,
            lifespan="off",
            timeout_keep_alive=IDLE_SECONDS,
            access_log=False,
            log_level="warning",
            log_config=None,
            server_header=False,
            ssl_context_factory=(lambda *_: tls) if tls else None,
        )
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
        self._serving = True

    def drain(self) -> None:
        """Says that it will stop; goes on answering."""
        self._serving = False

    async def stop(self, grace: float) -> None:
        """Ends requests that take longer than `grace` seconds."""
        self.drain()
        self._server.config.timeout_graceful_shutdown = max(1, round(grace))
        self._server.should_exit = True
        if self._task is not None:
            await self._task


class _WithoutSignals(uvicorn.Server):
    """Leaves signals to whoever runs both ports."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _for_origins(app: Application, origins: Sequence[str]) -> Any:
    """Lets browsers call from the pages of some origins; from any, if there is a "*"."""
    if not origins:
        return app
    return CORSMiddleware(
        app,  # type: ignore[arg-type]
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=ALLOWED_HEADERS,
        expose_headers=SHOWN_HEADERS,
        max_age=600,
    )
