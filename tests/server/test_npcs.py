"""NPCs as resources over gRPC: names, paging, retries, errors; and the server's own health and reflection."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from npcmeta.archetype import Archetype
from npcmeta_server.demo.host import Address
from npcmeta_server.gen.npcmeta.v1 import archetypes_pb2, npcs_pb2, resources_pb2
from tests.server.client import Client, clip, refusal


def test_archetypes_are_listed_with_their_specs(client: Client, archetypes: dict[str, Archetype]) -> None:
    first = client.archetypes.ListArchetypes(archetypes_pb2.ListArchetypesRequest(page_size=2))
    rest = client.archetypes.ListArchetypes(
        archetypes_pb2.ListArchetypesRequest(page_size=2, page_token=first.next_page_token)
    )
    found = [*first.archetypes, *rest.archetypes]
    assert [entry.name for entry in found] == [f"archetypes/{name}" for name in sorted(archetypes)]
    assert rest.next_page_token == ""
    guard = client.archetypes.GetArchetype(archetypes_pb2.GetArchetypeRequest(name="archetypes/guard"))
    assert guard == found[0]
    assert (guard.revision, guard.learner) == (archetypes["guard"].revision, "cnp")
    assert (guard.spec.observation_size, list(guard.spec.action.branch_sizes)) == (3, [3, 2])
    assert guard.state_bytes == 4 * (6 + 1)


def test_npcs_are_created_listed_and_deleted(client: Client) -> None:
    names = [client.create("painter", f"page-{i}", display_name="Bob") for i in range(5)]
    listed, token = [], ""
    while True:
        request = npcs_pb2.ListNpcsRequest(archetype="archetypes/painter", page_size=2, page_token=token)
        page = client.npcs.ListNpcs(request)
        listed += [npc.name for npc in page.npcs]
        if not (token := page.next_page_token):
            break
    assert [name for name in listed if "page-" in name] == names
    npc = client.get(names[0])
    assert (npc.display_name, npc.revision, npc.examples) == ("Bob", "npcs/page-0/revisions/1", 0)
    client.npcs.DeleteNpc(npcs_pb2.DeleteNpcRequest(name=names[0], etag=npc.etag))
    with pytest.raises(grpc.RpcError) as caught:
        client.get(names[0])
    assert refusal(caught.value)[:2] == (grpc.StatusCode.NOT_FOUND, "NPC_NOT_FOUND")


def test_an_old_etag_deletes_nothing(client: Client, archetypes: dict[str, Archetype]) -> None:
    npc = client.create("guard")
    old = client.get(npc).etag
    client.adapt(npc, clip(archetypes["guard"].spec))
    with pytest.raises(grpc.RpcError) as caught:
        client.npcs.DeleteNpc(npcs_pb2.DeleteNpcRequest(name=npc, etag=old))
    assert refusal(caught.value)[:2] == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    assert client.get(npc).examples == 50


def test_a_retried_creation_makes_one_npc(client: Client) -> None:
    def request(seed: int) -> npcs_pb2.CreateNpcRequest:
        wanted = resources_pb2.Npc(archetype="archetypes/guard", seed=seed)
        return npcs_pb2.CreateNpcRequest(npc=wanted, request_id="only-once")

    first, again = (client.npcs.CreateNpc(request(1)) for _ in range(2))
    assert first == again
    with pytest.raises(grpc.RpcError) as caught:
        client.npcs.CreateNpc(request(2))
    assert refusal(caught.value)[1] == "REQUEST_ID_REUSED"


def test_revisions_are_listed_newest_first(client: Client, archetypes: dict[str, Archetype]) -> None:
    npc = client.create("guard")
    for seed in range(3):
        client.adapt(npc, clip(archetypes["guard"].spec, 5, seed))
    page = client.npcs.ListRevisions(npcs_pb2.ListRevisionsRequest(parent=npc, page_size=3))
    assert [(revision.number, revision.examples) for revision in page.revisions] == [(4, 15), (3, 10), (2, 5)]
    rest = client.npcs.ListRevisions(npcs_pb2.ListRevisionsRequest(parent=npc, page_token=page.next_page_token))
    assert [revision.number for revision in rest.revisions] == [1]


REFUSED = {
    "NPC_EXISTS": lambda client: [client.create("guard", "twin") for _ in range(2)],
    "ARCHETYPE_NOT_FOUND": lambda client: client.create("knight"),
    "INVALID_NAME": lambda client: client.create("guard", "../../etc/passwd"),
    "INVALID_ARGUMENT": lambda client: client.create("guard", display_name="x" * 121),
    "NPC_NOT_FOUND": lambda client: client.fetch("npcs/nobody/assets/ort"),
    "ASSET_NOT_FOUND": lambda client: client.fetch("archetypes/guard/assets/sentis"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refusals_carry_their_reason_and_say_what_to_do(client: Client, reason: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        REFUSED[reason](client)
    found = refusal(caught.value)
    assert found[1] == reason
    assert len(found[2]) > 15


def test_the_server_is_healthy_and_describes_itself(server: Address) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "npcmeta.v1.ActService", "npcmeta.v1.AdaptService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        [answer] = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([ask]))
        names = {service.name for service in answer.list_services_response.service}
        assert {f"npcmeta.v1.{name}Service" for name in ("Archetype", "Npc", "Act", "Adapt", "Asset")} <= names
