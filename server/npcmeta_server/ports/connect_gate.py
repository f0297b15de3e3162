"""The gate in front of gRPC-Web and Connect, and how errors go over them."""

from __future__ import annotations

from typing import Any

from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from connectrpc.request import RequestContext
from protobuf.wkt import Any as PackedMessage
from protobuf.wkt import Struct

from npcmeta_server.access.gate import REQUEST_ID_HEADER, Call, Gate, current
from npcmeta_server.errors import ServiceError


class ConnectGate:
    """Lets calls in before their bodies are read: connectrpc's metadata interceptor."""

    def __init__(self, gate: Gate) -> None:
        """The gate is shared with the other ports."""
        self._gate = gate

    async def on_start(self, ctx: RequestContext[Any, Any]) -> Call:
        """Takes a place for the call, or refuses it."""
        try:
            call = self._gate.admit(f"/{ctx.method.service_name}/{ctx.method.name}", ctx.request_headers)
            call.begin()
        except ServiceError as error:
            raise as_connect(error) from error
        finally:
            if (known := current.get()) is not None:
                ctx.response_headers[REQUEST_ID_HEADER] = known.request_id
        return call

    async def on_end(self, call: Call, ctx: RequestContext[Any, Any], error: Exception | None, /) -> None:
        """Gives the place back; gives an error of connectrpc's own its reason."""
        too_large = isinstance(error, ConnectError) and error.code == Code.RESOURCE_EXHAUSTED and not error.details
        if too_large:
            call.reason = "TOO_MANY"
        elif isinstance(error, ConnectError) and not call.reason:
            call.reason = error.code.name
        call.end()
        if too_large:
            raise as_connect(ServiceError("TOO_MANY", f"{error}; send several")) from error


def as_connect(error: ServiceError) -> ConnectError:
    """An error of ours as one of connectrpc's."""
    if (call := current.get()) is not None:
        call.reason = error.reason
    details = [
        _Detail(PackedMessage(type_url=each.type_url, value=each.value), error) for each in error.status().details
    ]
    return ConnectError(Code[error.code.name], error.message, details)


class _Detail(ErrorDetail):
    """The info of an error, which JSON shows in plain words as well: what connectrpc puts under `debug`."""

    def __init__(self, packed: PackedMessage, error: ServiceError) -> None:
        super().__init__(packed)
        self._shown = Struct.from_python(error.info())

    def value(self, *_: Any) -> Any:
        return self._shown
