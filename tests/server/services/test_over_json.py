"""What is done with NPCs over Connect JSON, for clients that have nothing but HTTP."""

import base64
from typing import Any

import pytest

from npcmeta.archetype import Archetype
from npcmeta_server.demo.host import Address
from tests.server.client import Client, clip
from tests.server.test_http import call, error_info


@pytest.fixture
def npc(client: Client, archetypes: dict[str, Archetype]) -> str:
    made = client.create("guard", display_name="Bob")
    client.adapt(made, clip(archetypes["guard"].spec, 5))
    return made


def asked(server: Address, method: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = call(server, f"NpcService/{method}", body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_an_npc_is_renamed_by_a_mask_and_rolled_back(server: Address, npc: str) -> None:
    renamed = asked(
        server, "UpdateNpc", {"npc": {"name": npc, "displayName": "Eve"}, "updateMask": "displayName", "requestId": npc}
    )
    assert renamed["displayName"] == "Eve"
    back = asked(server, "RollbackNpc", {"name": npc, "revision": f"{npc}/revisions/1", "etag": renamed["etag"]})
    assert (back["revision"], back.get("examples", "0")) == (f"{npc}/revisions/1", "0")
    kept = asked(server, "GetRevision", {"name": f"{npc}/revisions/2"})
    assert (kept["number"], kept["examples"]) == ("2", "5")
    refused = call(server, "NpcService/RollbackNpc", {"name": npc, "revision": f"{npc}/revisions/7"})
    assert (refused.status_code, error_info(refused).reason) == (404, "REVISION_NOT_FOUND")
    refused = call(server, "NpcService/UpdateNpc", {"npc": {"name": npc}, "updateMask": "seed"})
    assert (refused.status_code, error_info(refused).reason) == (400, "INVALID_ARGUMENT")


def test_an_npc_is_cloned_found_and_deleted_once(server: Address, npc: str) -> None:
    copy = asked(server, "CloneNpc", {"source": npc, "npc": {"displayName": f"copy of {npc}"}})
    assert copy["examples"] == "5"
    found = asked(server, "ListNpcs", {"text": f"COPY of {npc}", "minExamples": "5"})
    assert [each["name"] for each in found["npcs"]] == [copy["name"]]
    for _ in range(2):
        assert asked(server, "DeleteNpc", {"name": copy["name"], "requestId": f"no-{copy['name']}"}) == {}
    assert asked(server, "ListNpcs", {"text": f"copy of {npc}"}) == {}


def test_a_file_that_is_none_is_refused_with_what_is_wrong(server: Address) -> None:
    body = {"npcId": "x", "file": base64.b64encode(b"\0" * 200).decode()}
    refused = call(server, "NpcService/ImportNpc", body)
    assert (refused.status_code, error_info(refused).reason) == (400, "INVALID_FILE")
