"""How large a message each method takes: whatever one client sends is parsed in one go, for which all others wait."""

from __future__ import annotations

from npcmeta_server.errors import ServiceError
from npcmeta_server.limits import MAX_FILE_MESSAGE_BYTES, MAX_PLAIN_MESSAGE_BYTES, MAX_TENSOR_MESSAGE_BYTES

FILES = (
    "/npcmeta.v1.ArchetypeService/UploadArchetypeOnce",
    "/npcmeta.v1.NpcService/ImportNpc",
)
"""What brings a whole file at once."""

TENSORS = (
    "/npcmeta.v1.ActService/",
    "/npcmeta.v1.AdaptService/",
    "/npcmeta.v1.NpcService/CreateDemonstration",
    "/npcmeta.v1.ArchetypeService/UploadArchetype",
    "/inference.GRPCInferenceService/",
    "/communicator_objects.UnityToExternalProto/",
)
"""What brings observations or examples, or a file in pieces; a name that ends in a slash stands for a whole service."""


def check(path: str, size: int) -> None:
    """Raises TOO_MANY for a message of more bytes than the method takes; before anybody parses it."""
    most = limit(path)
    if size > most:
        raise ServiceError(
            "TOO_MANY",
            f"the message has {size:,} bytes, {path} takes at most {most:,}; send it in several, with a stream where "
            "there is one",
            limit=most,
        )


def limit(path: str) -> int:
    """The most bytes of a message."""
    if path in FILES:
        return MAX_FILE_MESSAGE_BYTES
    if any(path == each or (each.endswith("/") and path.startswith(each)) for each in TENSORS):
        return MAX_TENSOR_MESSAGE_BYTES
    return MAX_PLAIN_MESSAGE_BYTES
