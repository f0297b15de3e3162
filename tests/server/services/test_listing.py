"""Lists: filters over gRPC and Connect, and page tokens that no list takes from another."""

import grpc
import httpx
import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from npcmeta.archetype import Archetype
from npcmeta.header import NAME
from npcmeta_server.demo.host import Address
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import archetypes_pb2, npcs_pb2
from npcmeta_server.services import paging
from tests.server.client import Client, clip, refusal
from tests.server.test_hostile import outcome

LISTS = {
    "npcs": npcs_pb2.ListNpcsRequest(archetype="archetypes/guard", text="bo", min_examples=3),
    "others": npcs_pb2.ListNpcsRequest(archetype="archetypes/guard", text="b", min_examples=3),
    "clips": npcs_pb2.ListDemonstrationsRequest(parent="npcs/bob"),
    "revisions": npcs_pb2.ListRevisionsRequest(parent="npcs/bob"),
    "archetypes": archetypes_pb2.ListArchetypesRequest(),
}


def found(client: Client, **wanted: object) -> list[str]:
    """Who is listed, one page after another."""
    names, token = [], ""
    while True:
        request = npcs_pb2.ListNpcsRequest(page_size=1 + len(names) % 3, page_token=token, **wanted)
        page = client.npcs.ListNpcs(request)
        names += [npc.name.removeprefix("npcs/") for npc in page.npcs]
        if not (token := page.next_page_token):
            return names


def test_npcs_are_found_by_what_they_are_called_and_how_much_they_know(
    client: Client, archetypes: dict[str, Archetype]
) -> None:
    people = {"list-a": "100% Bob", "list-b": "Bob_2", "list-c": "ÄRGER", "list-bob": "", "list-d": "Eve"}
    for number, (npc, display_name) in enumerate(people.items()):
        client.create("scout", npc, display_name=display_name)
        if number:
            client.adapt(f"npcs/{npc}", clip(archetypes["scout"].spec, number))
    client.create("painter", "list-e", display_name="Bob")
    scout = "archetypes/scout"
    assert found(client, archetype=scout, text="bob") == ["list-a", "list-b", "list-bob"]
    assert found(client, text="LIST-B") == ["list-b", "list-bob"]
    assert "list-e" in found(client, text="Bob")  # of another archetype; other tests have Bobs, too
    assert found(client, archetype=scout, text="%") == ["list-a"]
    assert found(client, archetype=scout, text="b_2") == ["list-b"]
    assert found(client, archetype=scout, text="ÄR") == ["list-c"]
    assert found(client, archetype=scout, text="list-", min_examples=2) == ["list-bob", "list-c", "list-d"]
    assert found(client, archetype=scout, text="nobody") == []


def test_a_page_token_of_another_filter_is_refused(server: Address, client: Client) -> None:
    for name in ("token-1", "token-2"):
        client.create("guard", name)
    first = httpx.post(
        f"{server.http}/npcmeta.v1.NpcService/ListNpcs", json={"text": "token-", "pageSize": 1, "minExamples": 0}
    ).json()
    assert [npc["name"] for npc in first["npcs"]] == ["npcs/token-1"]
    token = first["nextPageToken"]
    rest = client.npcs.ListNpcs(npcs_pb2.ListNpcsRequest(text="token-", page_token=token))
    assert [npc.name for npc in rest.npcs] == ["npcs/token-2"]
    for other in ({"text": "token"}, {"text": "token-", "archetype": "archetypes/guard"}, {}):
        with pytest.raises(grpc.RpcError, match="begin again without a token") as caught:
            client.npcs.ListNpcs(npcs_pb2.ListNpcsRequest(page_token=token, **other))
        assert refusal(caught.value)[1] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("wanted", [{"text": "x" * 121}, {"text": "\0"}, {"min_examples": -1}, {"page_size": -1}])
def test_filters_out_of_range_are_refused(client: Client, wanted: dict[str, object]) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.npcs.ListNpcs(npcs_pb2.ListNpcsRequest(**wanted))
    assert refusal(caught.value)[1] == "INVALID_ARGUMENT"


def with_token(request: Message, token: str, size: int = 0) -> Message:
    asked = type(request)()
    asked.CopyFrom(request)
    asked.page_token, asked.page_size = token, size
    return asked


@given(st.sampled_from(sorted(LISTS)), st.sampled_from(sorted(LISTS)), st.from_regex(NAME, fullmatch=True))
def test_a_token_leads_on_in_its_own_list_whatever_the_size_of_the_page(one: str, other: str, last: str) -> None:
    asked = with_token(LISTS[other], paging.token(with_token(LISTS[one], "any", 3), last), 7)
    if one == other:
        assert paging.after(asked) == last
    else:
        with pytest.raises(ServiceError, match="page_token"):
            paging.after(asked)


@given(st.text(min_size=1, max_size=80) | st.text(max_size=80).map(lambda last: paging.token(LISTS["revisions"], last)))
def test_a_token_of_any_kind_is_read_or_refused(token: str) -> None:
    for read in (paging.after, lambda request: paging.after_number(request, 1 << 62)):
        last = outcome(lambda read=read: read(with_token(LISTS["revisions"], token)))
        if isinstance(last, ServiceError):
            assert last.reason == "INVALID_ARGUMENT"
            assert len(last.message) < 400
        else:
            assert token.endswith(f".{last}")
            assert NAME.fullmatch(str(last))
