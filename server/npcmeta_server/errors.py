"""Every error that the server gives: one table of reasons, and how an error goes over the wire."""

from __future__ import annotations

from typing import Any, NamedTuple

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from npcmeta_server import metrics

DOMAIN = "npcmeta"


class Reason(NamedTuple):
    """What an ErrorInfo's reason means, and the status code that comes with it."""

    code: grpc.StatusCode
    meaning: str


REASONS: dict[str, Reason] = {
    "INVALID_NAME": Reason(grpc.StatusCode.INVALID_ARGUMENT, "a resource name or id is not well formed"),
    "INVALID_ARGUMENT": Reason(grpc.StatusCode.INVALID_ARGUMENT, "a field is missing or out of range"),
    "INVALID_TENSOR": Reason(
        grpc.StatusCode.INVALID_ARGUMENT, "a tensor has a wrong type, shape, number of bytes or value"
    ),
    "INVALID_FILE": Reason(
        grpc.StatusCode.INVALID_ARGUMENT, "the file of an NPC is damaged, foreign, or holds what cannot be"
    ),
    "METHOD_NOT_FOUND": Reason(grpc.StatusCode.UNIMPLEMENTED, "the server has no such method"),
    "INVALID_TOKEN": Reason(grpc.StatusCode.UNAUTHENTICATED, "the call has no token, or one that is not known"),
    "ROLE_NEEDED": Reason(grpc.StatusCode.PERMISSION_DENIED, "the token's role does not allow the method"),
    "QUOTA_EXCEEDED": Reason(grpc.StatusCode.RESOURCE_EXHAUSTED, "the token has used up what it may use for now"),
    "TOO_MANY_CALLS": Reason(grpc.StatusCode.RESOURCE_EXHAUSTED, "the server has as many calls as it takes"),
    "INVALID_STREAM": Reason(grpc.StatusCode.INVALID_ARGUMENT, "messages of a stream came in a wrong order"),
    "TOO_MANY": Reason(grpc.StatusCode.RESOURCE_EXHAUSTED, "a limit on sizes or numbers is exceeded"),
    "ARCHETYPE_NOT_FOUND": Reason(grpc.StatusCode.NOT_FOUND, "the server offers no such archetype"),
    "NPC_NOT_FOUND": Reason(grpc.StatusCode.NOT_FOUND, "there is no such NPC"),
    "DEMONSTRATION_NOT_FOUND": Reason(grpc.StatusCode.NOT_FOUND, "the NPC has no such demonstration"),
    "REVISION_NOT_FOUND": Reason(grpc.StatusCode.NOT_FOUND, "the NPC has no such revision"),
    "ASSET_NOT_FOUND": Reason(grpc.StatusCode.NOT_FOUND, "there is no such asset"),
    "GROUP_NOT_FOUND": Reason(grpc.StatusCode.NOT_FOUND, "the stream has no such group"),
    "NOT_IN_CAST": Reason(grpc.StatusCode.NOT_FOUND, "an index is not in the group's cast"),
    "NPC_EXISTS": Reason(grpc.StatusCode.ALREADY_EXISTS, "an NPC of that id exists"),
    "REQUEST_ID_REUSED": Reason(grpc.StatusCode.ALREADY_EXISTS, "a request_id came again with other content"),
    "ETAG_MISMATCH": Reason(grpc.StatusCode.ABORTED, "the resource was changed meanwhile"),
    "ADAPT_IN_PROGRESS": Reason(grpc.StatusCode.ABORTED, "another request is adapting or changing the NPC"),
    "WRONG_ARCHETYPE": Reason(grpc.StatusCode.FAILED_PRECONDITION, "the NPC belongs to another archetype"),
    "SPEC_MISMATCH": Reason(
        grpc.StatusCode.FAILED_PRECONDITION,
        "a behaviour, or a file, has other sensors or actions than the archetype",
    ),
    "REVISION_UNAVAILABLE": Reason(
        grpc.StatusCode.FAILED_PRECONDITION, "the NPC needs an archetype revision that is not loaded"
    ),
    "INVALID_ARCHETYPE": Reason(grpc.StatusCode.INVALID_ARGUMENT, "an uploaded file is no archetype that can act here"),
    "ARCHETYPE_IN_USE": Reason(grpc.StatusCode.FAILED_PRECONDITION, "NPCs act with what was to be retired"),
    "UPGRADE_NOT_FOUND": Reason(grpc.StatusCode.NOT_FOUND, "there is no such upgrade"),
    "UPGRADE_IN_PROGRESS": Reason(grpc.StatusCode.ABORTED, "another upgrade of the archetype is running"),
    "ADAPTATION_FAILED": Reason(grpc.StatusCode.UNAVAILABLE, "the adaptation process stopped; try again"),
    "TIME_BUDGET_EXCEEDED": Reason(
        grpc.StatusCode.DEADLINE_EXCEEDED, "no inner loop ended within the time budget; nothing was changed"
    ),
    "ADAPTATION_DIVERGED": Reason(grpc.StatusCode.FAILED_PRECONDITION, "the inner loop left the finite numbers"),
    "STORE_UNAVAILABLE": Reason(grpc.StatusCode.UNAVAILABLE, "the store could not be read or written"),
    "SHUTTING_DOWN": Reason(grpc.StatusCode.UNAVAILABLE, "the server is stopping; please reconnect"),
    "INTERNAL": Reason(grpc.StatusCode.INTERNAL, "a fault of the server; its log says more"),
}


class ServiceError(Exception):
    """An error for the client: a reason of the table, what came and what was expected, and facts about it."""

    def __init__(self, reason: str, message: str, **metadata: object) -> None:
        """Makes an error; `metadata` becomes the ErrorInfo's."""
        super().__init__(message)
        self.reason, self.message = reason, message
        self.metadata = {key: str(value) for key, value in metadata.items()}

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC status code."""
        return REASONS[self.reason].code

    def info(self) -> dict[str, Any]:
        """The ErrorInfo as JSON shows it."""
        return {"reason": self.reason, "domain": DOMAIN, "metadata": self.metadata}

    def line(self) -> str:
        """The error as a line of text, on its way to a client whose protocol has nothing else for it."""
        metrics.ERRORS.labels(self.reason).inc()
        return f"{self.reason}: {self.message}"

    def status(self) -> status_pb2.Status:
        """The error as google.rpc.Status with its google.rpc.ErrorInfo, on its way to a client."""
        metrics.ERRORS.labels(self.reason).inc()
        info = error_details_pb2.ErrorInfo(**self.info())
        detail = any_pb2.Any()
        detail.Pack(info)
        return status_pb2.Status(code=self.code.value[0], message=self.message, details=[detail])
