"""gRPC-Web as text: what Google's client for browsers sends by default, and needs for answers that are streams.

Source: PROTOCOL-WEB.md of github.com/grpc/grpc; every piece of a body may be base64 of its own, with its own padding.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable
from typing import Any

TEXT, BINARY = b"application/grpc-web-text", b"application/grpc-web"
CONTENT_TYPE = b"content-type"

Application = Callable[[Any, Any, Any], Awaitable[None]]


def web_text(app: Application) -> Application:
    """The application, to which requests as text look like binary ones."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        if not headers.get(CONTENT_TYPE, b"").startswith(TEXT):
            await app(scope, receive, send)
            return
        decode, encoded = Decoder(), False

        async def received() -> Any:
            message = await receive()
            return message | {"body": decode(message["body"])} if message.get("body") else message

        async def sent(message: Any) -> None:
            nonlocal encoded
            if message["type"] == "http.response.start":
                encoded = dict(message["headers"]).get(CONTENT_TYPE, b"").startswith(BINARY)
                message = message | {"headers": _renamed(message["headers"], BINARY, TEXT)}
            elif encoded and message.get("body"):
                message = message | {"body": base64.b64encode(message["body"])}
            await send(message)

        await app(scope | {"headers": _renamed(scope["headers"], TEXT, BINARY)}, received, sent)

    return answer


class Decoder:
    """What a body says whose pieces come one by one."""

    def __init__(self) -> None:
        """Begins with the body."""
        self._rest = b""

    def __call__(self, piece: bytes) -> bytes:
        """The bytes of a further piece, as far as its characters go in fours; what is no base64 stays as it is."""
        text = self._rest + piece
        whole = len(text) - len(text) % 4
        self._rest = text[whole:]
        try:
            return b"".join(base64.b64decode(each, validate=True) for each in re.findall(rb"[^=]+=*|=+", text[:whole]))
        except ValueError:
            return text  # which is no gRPC either, and is refused as that


def _renamed(headers: Any, found: bytes, wanted: bytes) -> list[tuple[bytes, bytes]]:
    """Headers in which what the content type begins with is another; its end says how messages are written."""
    return [
        (name, value.replace(found, wanted, 1) if name == CONTENT_TYPE and value.startswith(found) else value)
        for name, value in headers
    ]
