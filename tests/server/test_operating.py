"""What whoever runs a server sees: metrics, health, and a stop that nobody has to fear."""

import contextlib
import io
import select
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console

from npcmeta_server.cli import top
from npcmeta_server.ports import connect_app, head_in_time
from npcmeta_server.serving import Settings
from tests import toys
from tests.server.client import Client, Stream, cast, clip, group, observations, part, refusal, tick
from tests.server.in_thread import Served, served

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def settings_of(archetypes: Path, folder: Path, **more: float) -> Settings:
    store = f"sqlite:///{folder / 'npcs.db'}"
    return Settings(archetypes, store, "127.0.0.1", 0, 0, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def watched(archetype_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(settings_of(archetype_folder, tmp_path_factory.mktemp("watched"), max_npcs=4, max_calls=8)) as server:
        yield server


def test_metrics_say_what_was_done(watched: Served) -> None:
    before = top.read(watched.http, "")
    with grpc.insecure_channel(watched.grpc) as channel:
        client = Client(channel)
        npc = client.create("guard")
        client.adapt(npc, clip(toys.spec("mixed"), 5))
        stream = Stream(client.acting.Act)
        stream.ask(cast(group(0, "guard", {0: npc, 1: "npcs/nobody"})))
        for number in range(5):
            stream.ask(tick(number, part(0, [0], observations(1)), part(7, [0], observations(1))))
        now = top.read(watched.http, "")
        stream.close()

    def grown(sample: str, label: str = "", value: str = "") -> float:
        return now.by(sample, label).get(value, 0.0) - before.by(sample, label).get(value, 0.0)

    assert grown("npcmeta_frame_seconds_count") == 5
    assert grown("npcmeta_decisions_total", "archetype", "guard") == 5
    assert grown("npcmeta_batch_rows_count", "archetype", "guard") == 5
    assert grown("npcmeta_revisions_total", "archetype", "guard") == 1
    assert grown("npcmeta_adaptation_seconds_count") >= 1
    assert grown("npcmeta_errors_total", "reason", "GROUP_NOT_FOUND") == 5
    assert grown("npcmeta_errors_total", "reason", "NPC_NOT_FOUND") == 1
    assert grown("npcmeta_npcs_stored") == 1
    assert now.by("npcmeta_npcs_resident", "archetype")["guard"] == 1
    assert now.total("npcmeta_adaptations_waiting") == 0
    assert now.total("npcmeta_calls_under_way") == 2  # the stream, and the one that asks
    slowest = top.quantile(before, now, "npcmeta_frame_seconds", 1.0)
    assert slowest is not None
    assert 0 < slowest < float("inf")
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(top.view(before, now))
    shown = console.export_text()
    assert all(text in shown for text in ("guard", "GROUP_NOT_FOUND", "frame p50, p99", "NPCs in memory"))


def test_a_full_store_and_a_full_server_say_so(watched: Served) -> None:
    with grpc.insecure_channel(watched.grpc) as channel:
        client = Client(channel)
        with pytest.raises(grpc.RpcError) as caught:
            list(map(client.create, ["guard"] * 5))
        assert refusal(caught.value)[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY")
        streams = [Stream(client.acting.Act) for _ in range(9)]
        with pytest.raises(grpc.RpcError) as caught:
            [stream.ask(cast()) for stream in streams]
        assert refusal(caught.value)[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
        for stream in streams:
            stream.call.cancel()


def test_a_client_that_does_not_get_its_request_over_holds_no_place(
    watched: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect_app, "BODY_SECONDS", 0.5)
    name, _, port = watched.http.removeprefix("http://").partition(":")
    head = f"POST /npcmeta.v1.NpcService/GetNpc HTTP/1.1\r\nhost: {name}\r\ncontent-type: application/json\r\n"
    with socket.create_connection((name, int(port)), timeout=60) as slow:
        slow.sendall(f"{head}content-length: 100\r\n\r\n{{".encode())
        answer = b""
        while b"canceled" not in answer:
            answer += slow.recv(1 << 16) or pytest.fail(f"the server hung up behind {answer!r}")
        assert top.read(watched.http, "").total("npcmeta_calls_under_way") == 1  # the one that asks


@pytest.mark.parametrize(
    "said", [b"", b"GET /health HTTP/1.1\r\nhost: x\r\nx-slow: a", b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"]
)
def test_a_client_that_does_not_get_the_head_of_a_request_over_is_given_up(
    said: bytes, watched: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_in_time, "HEAD_SECONDS", 0.5)
    name, _, port = watched.http.removeprefix("http://").partition(":")
    with socket.create_connection((name, int(port)), timeout=60) as slow:
        slow.sendall(said)
        if said.endswith(b"\r\n\r\n"):
            answer = b""
            while b"SERVING" not in answer:
                answer += slow.recv(1 << 16) or pytest.fail(f"the server hung up behind {answer!r}")
            slow.sendall(b"GET /health HTTP/1.1\r\nx-second: a")  # as slow as the others, behind a quick one
        with contextlib.suppress(ConnectionResetError):
            assert slow.recv(1 << 16) == b""
    assert httpx.get(f"{watched.http}/health", timeout=60).status_code == 200


def test_a_connection_is_kept_for_those_who_ask_every_few_seconds(watched: Served) -> None:
    """One that is closed while they ask again is an error to them, for which they were told no reason."""
    name, _, port = watched.http.removeprefix("http://").partition(":")
    with contextlib.closing(HTTPConnection(name, int(port), timeout=60)) as kept:
        kept.request("GET", "/health")
        assert kept.getresponse().read()
        ended, _, _ = select.select([kept.sock], [], [], 6.0)
        assert ended == []


@pytest.mark.ipv6
def test_all_addresses_are_those_of_both_kinds_on_both_ports(archetype_folder: Path, tmp_path: Path) -> None:
    everywhere = settings_of(archetype_folder, tmp_path)._replace(host="::", insecure=True)
    with served(everywhere) as server:
        ports = [address.rpartition(":")[2] for address in (server.grpc, server.http)]
        for host in ("127.0.0.1", "[::1]"):
            assert httpx.get(f"http://{host}:{ports[1]}/health", timeout=60).status_code == 200
            with grpc.insecure_channel(f"{host}:{ports[0]}") as channel:
                asked = health_pb2.HealthCheckRequest()
                assert health_pb2_grpc.HealthStub(channel).Check(asked, timeout=60).status == SERVING


def test_a_stop_is_announced_and_those_who_notice_lose_nothing(archetype_folder: Path, tmp_path: Path) -> None:
    with (
        served(settings_of(archetype_folder, tmp_path, drain_seconds=3.0)) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        client, health = Client(channel), health_pb2_grpc.HealthStub(channel)
        asked = {name: health_pb2.HealthCheckRequest(service=name) for name in ("", "npcmeta.v1.ActService")}
        watches = [health.Watch(request) for request in asked.values()]
        assert [next(watch).status for watch in watches] == [SERVING, SERVING]
        npc = client.create("guard")
        stream = Stream(client.acting.Act)
        stream.ask(cast(group(0, "guard", {0: npc})))
        answered: list[int] = []
        play = (stream.ask(tick(number, part(0, [0], observations(1)))) for number in range(10**6))
        threading.Thread(target=lambda: (time.sleep(0.1), server.stop())).start()
        assert [next(watch).status for watch in watches] == [NOT_SERVING, NOT_SERVING]
        assert httpx.get(f"{server.http}/health", timeout=60).status_code == 503
        with pytest.raises(grpc.RpcError) as caught:
            answered.extend(frame.tick.number for frame in play)
        assert refusal(caught.value)[:2] == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
        assert answered  # while it drained, frames were decided
