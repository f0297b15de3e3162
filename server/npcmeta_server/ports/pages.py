"""Pages of the HTTP port for whoever runs the server: /health and /metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from npcmeta_server.access.gate import Gate
from npcmeta_server.errors import ServiceError
from npcmeta_server.ports.connect_app import Application, refuse, send_text


def health(serving: Callable[[], bool]) -> Application:
    """Whether new calls are welcome, for load balancers."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        status, text = (200, b"SERVING\n") if serving() else (503, b"NOT_SERVING\n")
        await send_text(send, status, "text/plain", text)

    return answer


def metrics(gate: Gate) -> Application:
    """What the server counts and times, in Prometheus' text format."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        try:
            with gate.admit(scope["path"], headers):
                text = await asyncio.to_thread(generate_latest)
                await send_text(send, 200, CONTENT_TYPE_LATEST, text)
        except ServiceError as error:
            await refuse(send, 401 if error.reason == "INVALID_TOKEN" else 429, error)

    return answer
