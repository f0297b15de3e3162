"""The gRPC port: the services over HTTP/2, with health and reflection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from npcmeta_server.errors import ServiceError
from npcmeta_server.ports.surface import Method, Services, as_service_error, methods, peer, unknown_method

KEEPALIVE_MILLISECONDS = 20_000
"""A client that does not answer for twice as long is gone, and what it held is free again."""


class GrpcPort:
    """A gRPC server that is healthy from `start` to `stop`."""

    def __init__(
        self, services: Services, files: Sequence[FileDescriptor], address: str, max_message_bytes: int
    ) -> None:
        """Binds the address; offers the services of some .proto files.

        Raises:
            OSError: If the port is taken or the address is not ours.
        """
        options = [
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.so_reuseport", 0),  # two servers on one port would share its clients between them
            ("grpc.keepalive_time_ms", KEEPALIVE_MILLISECONDS),
            ("grpc.keepalive_timeout_ms", KEEPALIVE_MILLISECONDS),
        ]
        self._server = grpc.aio.server(options=options)
        self._names = [service.full_name for file in files for service in file.services_by_name.values()]
        for full_name in self._names:
            own = {m.name: _handler(m) for m in methods(services, files) if full_name.endswith(f".{m.service}")}
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(full_name, own),))
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        shown = (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(shown, self._server)
        self._server.add_generic_rpc_handlers((_Elsewhere(),))
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: is the port taken? ({error})") from error

    async def start(self) -> None:
        """Begins to answer."""
        await self._server.start()
        await self._say(health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace: float) -> None:
        """Says that it is not serving any more, and ends calls that take longer than `grace` seconds."""
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._server.stop(grace)

    async def _say(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in ("", *self._names):
            await self._health.set(name, status)


def _handler(method: Method) -> Any:
    """The method for gRPC: requests are parsed here, so that garbage gets an error of ours."""

    async def parsed(requests: AsyncIterator[bytes]) -> AsyncIterator[Message]:
        async for request in requests:
            yield method.request.FromString(request)

    async def stream(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        peer.set(context.peer())
        try:
            async for response in method.answer(parsed(request) if method.takes_stream else parse(request)):
                yield response
        except Exception as error:
            await _abort(context, error, method)

    async def single(request: bytes, context: grpc.aio.ServicerContext) -> Any:
        peer.set(context.peer())
        try:
            return await method.answer(parse(request))
        except Exception as error:
            await _abort(context, error, method)

    parse = method.request.FromString
    if method.takes_stream:
        return grpc.stream_stream_rpc_method_handler(stream, response_serializer=_serialise)
    if method.gives_stream:
        return grpc.unary_stream_rpc_method_handler(stream, response_serializer=_serialise)
    return grpc.unary_unary_rpc_method_handler(single, response_serializer=_serialise)


def _serialise(message: Message) -> bytes:
    return message.SerializeToString()


class _Elsewhere(grpc.GenericRpcHandler):
    """Answers what no service has, behind all others."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """A method that refuses, whatever its kind."""

        async def refuse(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
            await _abort_with(context, unknown_method(handler_call_details.method))
            yield b""

        return grpc.stream_stream_rpc_method_handler(refuse)


async def _abort(context: grpc.aio.ServicerContext, error: Exception, method: Method) -> NoReturn:
    if isinstance(error, asyncio.CancelledError | grpc.aio.AbortError):
        raise error
    await _abort_with(context, as_service_error(error, method))


async def _abort_with(context: grpc.aio.ServicerContext, error: ServiceError) -> NoReturn:
    status = error.status()
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    detail = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code, status.message, detail)
    raise AssertionError("abort raises")
