"""How large a message may be: a limit for each method, told before anybody parses it."""

import pytest

from npcmeta_server.access import sizes
from npcmeta_server.access.gate import Gate
from npcmeta_server.errors import ServiceError
from npcmeta_server.limits import MAX_FILE_MESSAGE_BYTES, MAX_PLAIN_MESSAGE_BYTES, MAX_TENSOR_MESSAGE_BYTES
from npcmeta_server.ports.surface import FILES, INFERENCE, MLAGENTS

LIMITS = {
    "/npcmeta.v1.NpcService/ImportNpc": MAX_FILE_MESSAGE_BYTES,
    "/npcmeta.v1.ArchetypeService/UploadArchetypeOnce": MAX_FILE_MESSAGE_BYTES,
    "/npcmeta.v1.ArchetypeService/UploadArchetype": MAX_TENSOR_MESSAGE_BYTES,
    "/npcmeta.v1.ActService/Act": MAX_TENSOR_MESSAGE_BYTES,
    "/npcmeta.v1.AdaptService/AdaptOnce": MAX_TENSOR_MESSAGE_BYTES,
    "/npcmeta.v1.NpcService/CreateDemonstration": MAX_TENSOR_MESSAGE_BYTES,
    "/npcmeta.v1.NpcService/CreateNpc": MAX_PLAIN_MESSAGE_BYTES,
    "/npcmeta.v1.UpgradeService/UpgradeNpcs": MAX_PLAIN_MESSAGE_BYTES,
    "/grpc.health.v1.Health/Check": MAX_PLAIN_MESSAGE_BYTES,
}


@pytest.mark.parametrize("path", LIMITS)
def test_a_message_beyond_the_limit_of_its_method_is_refused(path: str) -> None:
    call, most = Gate(None, 1).admit(path, {}), LIMITS[path]
    call.message(most)
    with pytest.raises(ServiceError, match=f"{most + 1:,} bytes, {path} takes at most {most:,}") as caught:
        call.message(most + 1)
    assert (caught.value.reason, caught.value.metadata) == ("TOO_MANY", {"limit": str(most)})
    assert call.received == most + 1


def test_every_name_in_the_table_is_one_of_ours() -> None:
    services = [service for file in (*FILES, INFERENCE, MLAGENTS) for service in file.services_by_name.values()]
    ours = {f"/{service.full_name}/" for service in services}
    ours |= {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}
    assert set(sizes.FILES + sizes.TENSORS) <= ours
