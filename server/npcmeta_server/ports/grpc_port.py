"""The gRPC port: the services over HTTP/2, with health and reflection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, NoReturn

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import (
    act_pb2_grpc,
    adapt_pb2_grpc,
    archetypes_pb2_grpc,
    assets_pb2_grpc,
    npcs_pb2_grpc,
)
from npcmeta_server.ports.surface import FILES, Method, Services, methods

log = logging.getLogger(__name__)

REGISTER = {
    "ArchetypeService": archetypes_pb2_grpc.add_ArchetypeServiceServicer_to_server,
    "NpcService": npcs_pb2_grpc.add_NpcServiceServicer_to_server,
    "ActService": act_pb2_grpc.add_ActServiceServicer_to_server,
    "AdaptService": adapt_pb2_grpc.add_AdaptServiceServicer_to_server,
    "AssetService": assets_pb2_grpc.add_AssetServiceServicer_to_server,
}


class GrpcPort:
    """A gRPC server that is healthy from `start` to `stop`."""

    def __init__(self, services: Services, address: str, max_message_bytes: int) -> None:
        """Binds the address.

        Raises:
            OSError: If the port is taken or the address is not ours.
        """
        options = [
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.so_reuseport", 0),  # two servers on one port would share its clients between them
        ]
        self._server = grpc.aio.server(options=options)
        for name, register in REGISTER.items():
            own = {method.name: _handler(method) for method in methods(services) if method.service == name}
            register(SimpleNamespace(**own), self._server)  # type: ignore[no-untyped-call]
        self._names = [service.full_name for file in FILES for service in file.services_by_name.values()]
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        shown = (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(shown, self._server)
        try:
            self._server.add_insecure_port(address)
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
    """The method with the errors of gRPC; the generated code tells streams by the kind of function."""
    if method.gives_stream:

        async def stream(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            try:
                async for response in method.answer(request):
                    yield response
            except Exception as error:
                await _abort(context, error, method)

        return stream

    async def single(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await method.answer(request)
        except Exception as error:
            await _abort(context, error, method)

    return single


async def _abort(context: grpc.aio.ServicerContext, error: Exception, method: Method) -> NoReturn:
    if isinstance(error, asyncio.CancelledError | grpc.aio.AbortError):
        raise error
    status = as_service_error(error, method).status()
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    detail = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code, status.message, detail)
    raise AssertionError("abort raises")


def as_service_error(error: Exception, method: Method) -> ServiceError:
    """The error for the client; of a fault of ours it hears only that there was one, and the log says which."""
    if isinstance(error, ServiceError):
        return error
    log.error("%s.%s failed", method.service, method.name, exc_info=error)
    return ServiceError("INTERNAL", f"{method.name} failed inside the server; its log says more")
