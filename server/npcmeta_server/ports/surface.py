"""The services by name, with their methods: what every port has to offer."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from npcmeta_server.access.gate import current
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.mlagents import communicator_pb2
from npcmeta_server.gen.npcmeta.v1 import act_pb2, adapt_pb2, archetypes_pb2, assets_pb2, npcs_pb2, upgrades_pb2
from npcmeta_server.gen.open_inference import inference_pb2

log = logging.getLogger(__name__)

FILES: tuple[FileDescriptor, ...] = tuple(
    module.DESCRIPTOR for module in (archetypes_pb2, upgrades_pb2, npcs_pb2, act_pb2, adapt_pb2, assets_pb2)
)

INFERENCE: FileDescriptor = inference_pb2.DESCRIPTOR
"""The Open Inference Protocol, which answers on the gRPC port."""
MLAGENTS: FileDescriptor = communicator_pb2.DESCRIPTOR
"""The trainer's side of ML-Agents, which has a port of its own."""

Services = Mapping[str, Any]
"""From the name of a service, for example "ActService", to the object that answers it."""


class Method(NamedTuple):
    """A method of a service and what answers it."""

    service: str
    name: str  # as on the wire, for example "ActOnce"
    python_name: str  # for example "act_once"
    takes_stream: bool
    gives_stream: bool
    request: type[Message]
    answer: Callable[..., Any]


def methods(services: Services, files: Sequence[FileDescriptor] = FILES) -> Iterator[Method]:
    """Every method of every service of a wire contract; a service that lacks one is a fault of ours."""
    for file in files:
        for service in file.services_by_name.values():
            for described in service.methods:
                yield _method(service.name, described, services[service.name])


def _method(service: str, described: MethodDescriptor, answers: object) -> Method:
    python_name = re.sub(r"(?<!^)(?=[A-Z])", "_", described.name).lower()
    return Method(
        service,
        described.name,
        python_name,
        described.client_streaming,
        described.server_streaming,
        GetMessageClass(described.input_type),
        getattr(answers, python_name),
    )


def as_service_error(error: Exception, method: Method) -> ServiceError:
    """The error for the client; of a fault of ours it hears only that there was one, and the log says which."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, DecodeError):
        return not_a_message(method.request, error)
    log.error("%s.%s failed", method.service, method.name, exc_info=error)
    call = current.get()
    of_request = f" under request {call.request_id}" if call else ""
    return ServiceError("INTERNAL", f"{method.name} failed inside the server; its log says more{of_request}")


def not_a_message(expected: type[Message], error: Exception) -> ServiceError:
    """What to answer to bytes, or JSON, that are no message of the kind."""
    return ServiceError(
        "INVALID_ARGUMENT",
        f"the request is no {expected.DESCRIPTOR.full_name} ({str(error)[:200]}); make the client from this server's "
        ".proto files",
    )


def unknown_method(path: str) -> ServiceError:
    """What to answer where there is nothing."""
    return ServiceError(
        "METHOD_NOT_FOUND",
        f"there is no {path[:120]}; the methods are at /npcmeta.v1.{{Service}}/{{Method}}, see the .proto files",
    )
