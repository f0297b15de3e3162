"""A server's life: killed at any moment, it has what it acknowledged; stopped, it asks its clients to reconnect."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from npcmeta_server.demo import host
from npcmeta_server.demo.host import Address
from tests import toys
from tests.server.client import Client, Stream, cast, clip, group, observations, part, refusal, tick
from tests.server.conftest import save
from tests.soak.victim import children, serve_command

SHOWN = clip(toys.spec("mixed"), 5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "archetypes").mkdir()
    save("guard", tmp_path / "archetypes")
    return tmp_path


@pytest.fixture
def process(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Address]]:
    """A server that the test may kill."""
    ports = host.free_port(), host.free_port()
    with (folder / "log").open("wb") as log:
        started = subprocess.Popen(serve_command(folder, *ports), stdout=log, stderr=log)
    address = Address(f"127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}")
    try:
        host.wait_until_healthy(started, address, folder / "log")
        yield started, address
    finally:
        started.kill()
        started.wait()


def test_what_was_acknowledged_survives_kill_9(folder: Path, process: tuple[subprocess.Popen[bytes], Address]) -> None:
    server, address = process
    acknowledged: dict[str, int] = {}

    def adapt_until_the_end(name: str) -> None:
        with grpc.insecure_channel(address.grpc) as channel, contextlib.suppress(grpc.RpcError):
            client = Client(channel)
            npc = client.create("guard", name)
            acknowledged[npc] = 0
            while True:
                acknowledged[npc] = client.adapt(npc, SHOWN)[-1].committed.revision.examples

    threads = [threading.Thread(target=adapt_until_the_end, args=(f"npc-{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while sum(acknowledged.values()) < 100 and time.monotonic() < deadline:
        time.sleep(0.01)
    server.send_signal(signal.SIGKILL)
    for thread in threads:
        thread.join(10)
    store = folder / "npcs.db"
    with (
        host.server(folder / "archetypes", store, folder / "again") as again,
        grpc.insecure_channel(again.grpc) as channel,
    ):
        client = Client(channel)
        assert sum(acknowledged.values()) > 0
        for npc, examples in acknowledged.items():
            found = client.get(npc).examples
            assert found in (examples, examples + 5)  # the last answer may not have reached us
            assert list(client.act_once("guard", [npc], observations(1)).revisions) == [1 + found // 5]


@pytest.mark.parametrize("busy", [True, False])
def test_a_stopping_server_asks_its_streams_to_reconnect(
    busy: bool, process: tuple[subprocess.Popen[bytes], Address]
) -> None:
    server, address = process
    with grpc.insecure_channel(address.grpc) as channel:
        client = Client(channel)
        npc = client.create("guard")
        stream = Stream(client.acting.Act)
        stream.ask(cast(group(0, "guard", {0: npc})))
        server.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as caught:
            play(stream, seconds=5) if busy else next(stream.call)
    assert refusal(caught.value)[:2] == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
    assert server.wait(15) == 0


def play(stream: Stream, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        stream.ask(tick(1, part(0, [0], observations(1))))
        time.sleep(0.05)


def test_the_adaptation_process_may_die_without_anybody_losing_a_frame(
    process: tuple[subprocess.Popen[bytes], Address],
) -> None:
    server, address = process
    with grpc.insecure_channel(address.grpc) as channel:
        client = Client(channel)
        npc = client.create("guard")
        client.adapt(npc, SHOWN)
        [child] = children(server.pid)
        os.kill(child, signal.SIGKILL)
        assert list(client.act_once("guard", [npc], observations(1)).revisions) == [2]
        client.adapt(npc, SHOWN)  # waits for the next process
        assert client.get(npc).examples == 10
        assert children(server.pid) != [child]


def test_a_taken_port_a_locked_store_and_a_missing_archetype_are_said_plainly(
    folder: Path, process: tuple[subprocess.Popen[bytes], Address]
) -> None:
    _, address = process
    port = int(address.grpc.rpartition(":")[2])
    assert "is another server using it" in failed_start(folder, host.free_port())
    (folder / "npcs.db").rename(folder / "other.db")
    assert f"cannot listen on 127.0.0.1:{port}: is the port taken?" in failed_start(folder, port)
    assert "--port is 99999, expected 0" in failed_start(folder, 99999)
    (folder / "archetypes" / "guard.safetensors").write_bytes(b"garbage")
    for kept in folder.glob("npcs.db*"):  # which has the file from the start before
        kept.unlink()
    assert "holds no archetype that can be served" in failed_start(folder, host.free_port())


def failed_start(folder: Path, port: int) -> str:
    done = subprocess.run(serve_command(folder, port, host.free_port()), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_garbage_bytes_on_either_port_disturb_nobody(process: tuple[subprocess.Popen[bytes], Address]) -> None:
    _, address = process
    for where in (address.grpc, address.http.removeprefix("http://")):
        name, _, port = where.partition(":")
        for seed in range(10):
            with socket.create_connection((name, int(port)), timeout=5) as raw:
                raw.sendall(bytes((seed * 37 + i * i) % 256 for i in range(3000)))
    with grpc.insecure_channel(address.grpc) as channel:
        client = Client(channel)
        assert list(client.act_once("guard", [client.create("guard")], observations(1)).revisions) == [1]
