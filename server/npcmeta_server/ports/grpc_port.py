"""The gRPC port: the services over HTTP/2, with health and reflection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from npcmeta_server.access.gate import Gate
from npcmeta_server.ports.grpc_gate import Each, GrpcGate, abort_with
from npcmeta_server.ports.surface import Method, Services, as_service_error, methods

KEEPALIVE_MILLISECONDS = 20_000
"""A client that does not answer for twice as long is gone, and what it held is free again."""
MIN_PING_MILLISECONDS = 1_000
"""What clients ask more often, whether we are there, counts as an attack; gRPC's own five minutes ends paused games."""
WATCHER_SECONDS = 1.0


class GrpcPort:
    """A gRPC server that is healthy from `start` to `stop`."""

    def __init__(
        self,
        services: Services,
        files: Sequence[FileDescriptor],
        address: str,
        max_message_bytes: int,
        gate: Gate,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        """Binds the address; offers the services of some .proto files, behind the gate.

        Raises:
            OSError: If the port is taken or the address is not ours.
        """
        options = [
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.so_reuseport", 0),  # two servers on one port would share its clients between them
            ("grpc.keepalive_time_ms", KEEPALIVE_MILLISECONDS),
            ("grpc.keepalive_timeout_ms", KEEPALIVE_MILLISECONDS),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_MILLISECONDS),
        ]
        self._server = grpc.aio.server(options=options, interceptors=(GrpcGate(gate),))
        self._names = [service.full_name for file in files for service in file.services_by_name.values()]
        for full_name in self._names:
            own = {m.name: _handler(m) for m in methods(services, files) if full_name.endswith(f".{m.service}")}
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(full_name, own),))
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        shown = (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(shown, self._server)
        try:
            if credentials is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: is the port taken? ({error})") from error

    async def start(self) -> None:
        """Begins to answer."""
        await self._server.start()
        await self._say(health_pb2.HealthCheckResponse.SERVING)

    async def drain(self) -> None:
        """Says, to whoever asks or watches, that it will stop; goes on answering."""
        with contextlib.suppress(TimeoutError):  # a watcher that does not read must not keep it from stopping
            await asyncio.wait_for(self._say(health_pb2.HealthCheckResponse.NOT_SERVING), WATCHER_SECONDS)

    async def stop(self, grace: float) -> None:
        """Takes no more calls, and ends those that take longer than `grace` seconds."""
        await self._server.stop(grace)

    async def _say(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in ("", *self._names):
            await self._health.set(name, status)


def _handler(method: Method) -> Any:
    """The method for gRPC: requests are parsed here, so that garbage gets an error of ours."""

    def parsed(request: Any) -> Any:
        return Each(request.__anext__, parse) if method.takes_stream else parse(request)

    async def stream(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        try:
            async with contextlib.aclosing(method.answer(parsed(request))) as responses:
                async for response in responses:
                    yield response
        except Exception as error:
            await abort_with(context, as_service_error(error, method))

    async def single(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await method.answer(parsed(request))
        except Exception as error:
            await abort_with(context, as_service_error(error, method))

    parse = method.request.FromString
    if method.takes_stream and not method.gives_stream:
        return grpc.stream_unary_rpc_method_handler(single, response_serializer=_serialise)
    if method.takes_stream:
        return grpc.stream_stream_rpc_method_handler(stream, response_serializer=_serialise)
    if method.gives_stream:
        return grpc.unary_stream_rpc_method_handler(stream, response_serializer=_serialise)
    return grpc.unary_unary_rpc_method_handler(single, response_serializer=_serialise)


def _serialise(message: Message) -> bytes:
    return message.SerializeToString()
