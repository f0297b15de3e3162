"""What is said in an Adapt stream, and in one AdaptOnce: read the same way, and digested so that a retry is known."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from npcmeta_server.gen.npcmeta.v1 import adapt_pb2

Said = tuple[str | None, Any]
"""The field of an AdaptRequest that is set, and its value. In place of the message, into which it had to be copied."""

NOTHING: Said = (None, None)


async def streamed(requests: AsyncIterator[adapt_pb2.AdaptRequest]) -> AsyncGenerator[Said, None]:
    """What is said bit by bit."""
    async for request in requests:
        kind = request.WhichOneof("request")
        yield kind, getattr(request, kind) if kind else None


async def at_once(request: adapt_pb2.AdaptOnceRequest) -> AsyncGenerator[Said, None]:
    """What is said at once, in the order of a stream."""
    yield "setup", request.setup
    for demonstration in request.demonstrations:
        yield "demonstration", demonstration
    for examples in request.examples:
        yield "examples", examples
    for feedback in request.feedback:
        yield "feedback", feedback
    yield "commit", adapt_pb2.Commit()


def digest(request: adapt_pb2.AdaptOnceRequest) -> str:
    """The same for equal requests, and for no others."""
    return hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()
