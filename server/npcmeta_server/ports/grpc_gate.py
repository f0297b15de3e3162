"""The gate in front of everything on the gRPC port, health and reflection among it."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn
from urllib.parse import unquote

import grpc
import grpc.aio

from npcmeta_server.access.gate import REQUEST_ID_HEADER, Call, Gate, current, peer
from npcmeta_server.errors import ServiceError
from npcmeta_server.ports.surface import unknown_method


class Each(AsyncIterator[Any]):
    """What a client sends, each message changed. No generator, as gRPC's own is, which nobody closes."""

    def __init__(self, read: Callable[[], Awaitable[Any]], change: Callable[[Any], Any]) -> None:
        """Takes nothing yet."""
        self._read, self._change = read, change

    async def __anext__(self) -> Any:
        message = await self._read()
        if message is grpc.aio.EOF:  # type: ignore[attr-defined]
            raise StopAsyncIteration
        return self._change(message)


class GrpcGate(grpc.aio.ServerInterceptor):
    """Lets calls in, and answers those that nothing else answers."""

    def __init__(self, gate: Gate) -> None:
        """The gate is shared with the other ports."""
        self._gate = gate

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method's handler behind the gate, or one that refuses."""
        handler = await continuation(handler_call_details)
        path: str = handler_call_details.method
        if handler is None:
            return _refusing(unknown_method(path))
        call = self._gate.call(path, _headers(handler_call_details))
        try:
            self._gate.check(call)
        except ServiceError as error:
            return _refusing(error, call)
        kind = "stream" if handler.request_streaming else "unary"
        kind += "_stream" if handler.response_streaming else "_unary"
        return handler._replace(**{kind: _within(call, getattr(handler, kind), handler.request_streaming)})


async def abort_with(context: grpc.aio.ServicerContext, error: ServiceError) -> NoReturn:
    """Ends a call with an error and its ErrorInfo."""
    status, call = error.status(), current.get()
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    details = [("grpc-status-details-bin", status.SerializeToString())]
    if call is not None:
        call.reason = error.reason
        details.append((REQUEST_ID_HEADER, call.request_id))
    await context.abort(code, status.message, tuple(details))
    raise AssertionError("abort raises")


def _within(call: Call, behaviour: Callable[..., Any], takes_stream: bool) -> Callable[..., Any]:
    """The method, counted as under way while it runs, and every message of the client counted as it comes."""

    def counted(request: Any) -> Any:
        call.message(_size(request))
        return request

    def taken(request: Any, context: grpc.aio.ServicerContext) -> Any:
        return Each(context.read, counted) if takes_stream else counted(request)

    async def stream(request: Any, context: grpc.aio.ServicerContext) -> None:
        _meet(context)
        # Writes by itself: what it yielded, grpc would leave to the garbage collector where the client is gone.
        try:
            with call:
                async with contextlib.aclosing(behaviour(taken(request, context), context)) as responses:
                    async for response in responses:
                        await context.write(response)
        except ServiceError as error:
            await abort_with(context, error)

    async def single(request: Any, context: grpc.aio.ServicerContext) -> Any:
        _meet(context)
        try:
            with call:
                return await behaviour(taken(request, context), context)
        except ServiceError as error:
            await abort_with(context, error)

    return stream if inspect.isasyncgenfunction(behaviour) else single


def _headers(details: grpc.HandlerCallDetails) -> dict[str, str]:
    return {key: value for key, value in details.invocation_metadata if isinstance(value, str)}


def _size(request: Any) -> int:
    """Bytes of a message, which our own methods parse themselves."""
    return len(request) if isinstance(request, bytes) else int(request.ByteSize())


def _meet(context: grpc.aio.ServicerContext) -> None:
    """Remembers who calls; an interceptor is not told."""
    peer.set(unquote(context.peer()))


def _refusing(error: ServiceError, call: Call | None = None) -> Any:
    """A method that refuses, whatever its kind, and reads nothing."""

    async def refuse(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
        _meet(context)
        if call is not None:
            call.refused(error)
        await abort_with(context, error)

    return grpc.stream_stream_rpc_method_handler(refuse)
