"""All Adapt streams together have one budget for examples: refused beyond it, and given back however a stream ends."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from npcmeta_server import clips
from npcmeta_server.adapting.memory import BYTES_OF_A_CLIP
from npcmeta_server.cli import top
from npcmeta_server.gen.npcmeta.v1 import adapt_pb2, npcs_pb2
from npcmeta_server.serving import Settings
from tests import toys
from tests.server.client import Client, Stream, adapt_requests, clip, observations, refusal
from tests.server.in_thread import Served, served

SPEC = toys.spec("mixed")
SHOWN, BROKEN = clip(SPEC, 100), clip(SPEC, 100)
BROKEN.observations.data = BROKEN.observations.data[1:]
HELD = 2 * clips.read(SHOWN, SPEC, "guard").nbytes + BYTES_OF_A_CLIP
CLIENT = """
import sys, time, grpc
from tests.server.services.test_lesson_memory import shown_to
with grpc.insecure_channel(sys.argv[1]) as channel:
    stream = shown_to(channel, sys.argv[2])
    print("shown", flush=True)
    time.sleep(300)
"""


@pytest.fixture(scope="module")
def narrow(archetype_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = f"sqlite:///{tmp_path_factory.mktemp('narrow') / 'npcs.db'}"
    with served(Settings(archetype_folder, store, "127.0.0.1", 0, 0, lesson_bytes=4 * HELD - 1)) as server:
        yield server


@pytest.fixture
def channel(narrow: Served) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(narrow.grpc) as channel:
        yield channel
    assert held(narrow, 0) == 0


def held(server: Served, expected: int) -> float:
    """What lessons hold, after the moment in which a server hears that a client is gone."""
    deadline = time.monotonic() + 10
    while True:
        found = top.read(server.http, "").total("npcmeta_lesson_bytes")
        if found == expected or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


def shown_to(channel: grpc.Channel, npc: str) -> Stream:
    """A stream that has shown examples."""
    stream = Stream(Client(channel).adapting.Adapt)
    setup, shown, _ = adapt_requests(npc, SHOWN)
    assert stream.ask(setup).HasField("started")
    assert stream.ask(shown).HasField("accepted")
    return stream


def commit(stream: Stream) -> None:
    stream.send(adapt_pb2.AdaptRequest(commit=adapt_pb2.Commit()))
    assert list(stream.call)[-1].HasField("committed")


def discard(stream: Stream) -> None:
    stream.send(adapt_pb2.AdaptRequest(discard=adapt_pb2.Discard()))
    assert list(stream.call)[-1].HasField("discarded")


def close(stream: Stream) -> None:
    stream.close()
    list(stream.call)


def cancel(stream: Stream) -> None:
    stream.call.cancel()


def fail(stream: Stream) -> None:
    stream.send(adapt_pb2.AdaptRequest(examples=BROKEN))
    with pytest.raises(grpc.RpcError, match="holds 1199 bytes"):
        list(stream.call)


@pytest.mark.parametrize("end", [commit, discard, close, cancel, fail])
def test_however_a_stream_ends_what_it_held_is_given_back(
    end: Callable[[Stream], None], narrow: Served, channel: grpc.Channel
) -> None:
    stream = shown_to(channel, Client(channel).create("guard"))
    assert held(narrow, HELD) == HELD
    end(stream)
    assert held(narrow, 0) == 0


def test_a_client_that_vanishes_holds_nothing(narrow: Served, channel: grpc.Channel) -> None:
    command = [sys.executable, "-c", CLIENT, narrow.grpc, Client(channel).create("guard")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as vanishing:
        try:
            assert vanishing.stdout is not None
            assert vanishing.stdout.readline() == b"shown\n"
            assert held(narrow, HELD) == HELD
        finally:
            vanishing.kill()
    assert held(narrow, 0) == 0


def test_beyond_the_budget_a_stream_is_refused_and_everybody_else_goes_on(
    narrow: Served, channel: grpc.Channel
) -> None:
    client = Client(channel)
    npc, other = client.create("guard"), client.create("guard")
    first = shown_to(channel, npc)
    with pytest.raises(grpc.RpcError) as caught:
        client.adapt(other, SHOWN)
    code, reason, message = refusal(caught.value)
    assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY")
    assert f"{HELD:,} bytes of examples on top of the {HELD:,}" in message
    assert held(narrow, HELD) == HELD
    assert list(client.act_once("guard", [npc, other], observations(2)).revisions) == [1, 1]
    commit(first)
    client.adapt(other, clip(SPEC, 40))
    assert [client.get(each).examples for each in (npc, other)] == [100, 40]


def test_one_client_cannot_take_what_another_needs(narrow: Served, channel: grpc.Channel) -> None:
    client = Client(channel)
    npcs = [client.create("guard") for _ in range(3)]
    first = shown_to(channel, npcs[0])
    with pytest.raises(grpc.RpcError, match="half of what other clients leave"):
        client.adapt(npcs[1], SHOWN)
    own = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
    with grpc.insecure_channel(narrow.grpc, own) as other:
        Client(other).adapt(npcs[1], SHOWN)
    discard(first)
    client.adapt(npcs[1], clip(SPEC, 1))


def test_what_an_npc_was_shown_before_counts_with_what_comes(narrow: Served, channel: grpc.Channel) -> None:
    client = Client(channel)
    npc = client.create("guard")
    client.adapt(npc, SHOWN)
    with pytest.raises(grpc.RpcError, match="end other Adapt streams, show less"):
        client.adapt(npc, SHOWN)
    client.adapt(npc, SHOWN, from_scratch=True)


def test_one_request_and_an_import_count_with_their_messages(narrow: Served, channel: grpc.Channel) -> None:
    client = Client(channel)
    npc, more = client.create("guard"), clip(SPEC, 150)
    whole = adapt_pb2.AdaptOnceRequest(setup=adapt_pb2.AdaptSetup(npc=npc), examples=[more])
    with pytest.raises(grpc.RpcError) as caught:
        list(client.adapting.AdaptOnce(whole))
    assert refusal(caught.value)[1] == "TOO_MANY"
    client.adapt(npc, more)  # bit by bit they fit
    with pytest.raises(grpc.RpcError) as caught:
        client.npcs.ImportNpc(npcs_pb2.ImportNpcRequest(file=b"x" * HELD))
    assert refusal(caught.value)[1] == "TOO_MANY"
