"""Large messages: refused beyond what their method takes; what is worked on beside the loop comes out the same."""

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from npcmeta_server import beside
from npcmeta_server.demo.host import Address
from npcmeta_server.gen.npcmeta.v1 import adapt_pb2, npcs_pb2, tensor_pb2
from npcmeta_server.serving import Settings
from tests import toys
from tests.server.client import Client, adapt_requests, clip, refusal
from tests.server.in_thread import Served, served

SPEC = toys.spec("mixed")


@pytest.fixture
def threaded(archetype_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server to which everything is much."""
    monkeypatch.setattr(beside, "MUCH", 0)
    with served(Settings(archetype_folder, f"sqlite:///{tmp_path / 'npcs.db'}", "127.0.0.1", 0, 0)) as server:
        yield server


async def test_little_is_done_at_once_and_much_on_a_thread() -> None:
    here = threading.current_thread()
    assert await beside.run(beside.MUCH - 1, threading.current_thread) is here
    assert await beside.run(beside.MUCH, threading.current_thread) is not here
    with pytest.raises(ZeroDivisionError):
        await beside.run(beside.MUCH, lambda: 1 // 0)


def test_a_message_that_is_too_large_for_its_method_is_refused_on_both_ports(client: Client, server: Address) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.get("npcs/" + "x" * (1 << 20))
    code, reason, message = refusal(caught.value)
    assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY")
    assert "NpcService/GetNpc takes at most 1,048,576" in message
    large = adapt_pb2.AdaptOnceRequest(examples=[tensor_pb2.Examples(weights={"data": bytes(9 << 20)})])
    with pytest.raises(grpc.RpcError, match="AdaptOnce takes at most 8,388,608"):
        list(client.adapting.AdaptOnce(large))
    answer = httpx.post(f"{server.http}/npcmeta.v1.NpcService/GetNpc", json={"name": "x" * (1 << 20)}, timeout=60)
    assert answer.status_code == 429
    assert "takes at most 1,048,576; send it in several" in answer.json()["message"]


def lessons(client: Client) -> list[bytes]:
    """States of NPCs that were shown the same things in every way there is."""
    shown, more = clip(SPEC, 30), clip(SPEC, 20, 8)
    streamed, once, stored = (client.create("guard", seed=4) for _ in range(3))
    feedback = adapt_pb2.Feedback(examples=more, weight=2.0)
    setup, first, commit = adapt_requests(streamed, shown)
    list(client.adapting.Adapt(iter([setup, first, adapt_pb2.AdaptRequest(feedback=feedback), commit])))
    whole = adapt_pb2.AdaptOnceRequest(
        setup=adapt_pb2.AdaptSetup(npc=once, request_id=once), examples=[shown], feedback=[feedback]
    )
    tries = [list(client.adapting.AdaptOnce(whole))[-1] for _ in range(2)]
    assert tries[0] == tries[1]
    made = npcs_pb2.CreateDemonstrationRequest(parent=stored, examples=shown, request_id=stored)
    names = {client.npcs.CreateDemonstration(made).name for _ in range(2)}
    part = adapt_pb2.AdaptRequest(demonstration=names.pop())
    assert not names
    setup, _, commit = adapt_requests(stored, shown)
    list(client.adapting.Adapt(iter([setup, part, adapt_pb2.AdaptRequest(feedback=feedback), commit])))
    return [client.fetch(f"{npc}/assets/state")[1] for npc in (streamed, once, stored)]


def test_what_is_worked_on_beside_the_loop_comes_out_the_same(threaded: Served, client: Client) -> None:
    with grpc.insecure_channel(threaded.grpc) as channel:
        states = lessons(Client(channel))
        npc, broken = Client(channel).create("guard"), clip(SPEC, 5)
        broken.observations.data = b"x"
        with pytest.raises(grpc.RpcError, match="holds 1 bytes"):
            Client(channel).adapt(npc, broken)
    assert set(states) == set(lessons(client))
    assert len(set(states)) == 1
