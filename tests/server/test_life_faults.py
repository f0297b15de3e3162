"""A server whose disk is full, or whose database is away: it says so, goes on acting, and works again afterwards."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from npcmeta_server.demo import host
from npcmeta_server.store import patience
from tests import toys
from tests.server.client import Client, Stream, cast, clip, group, observations, part, refusal, tick
from tests.server.store.postgres import PASSWORD, Cluster
from tests.server.test_life import SHOWN, folder

__all__ = ["folder"]


@contextlib.contextmanager
def serving(folder: Path, store: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server that the test may hurt, and its address; its store comes from the environment."""
    port, http_port = host.free_port(), host.free_port()
    command = [sys.executable, "-m", "npcmeta_server.cli", "serve", "--archetypes", str(folder / "archetypes"),
               "--port", str(port), "--http-port", str(http_port), "--log-level", "debug"]  # fmt: skip
    with (folder / "log").open("ab") as log:
        started = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"NPCMETA_STORE": store})
    address = host.Address(f"127.0.0.1:{port}", f"http://127.0.0.1:{http_port}")
    try:
        host.wait_until_healthy(started, address, folder / "log")
        yield started, address.grpc
    finally:
        started.kill()
        started.wait()


def check_fault(client: Client, npc: str, stream: Stream, said: str) -> None:
    """A commit is refused with what to do, and acting goes on with the revision that there was."""
    before = list(stream.ask(tick(1, part(0, [0], observations(1)))).tick.parts[0].revisions)
    with pytest.raises(grpc.RpcError) as caught:
        client.adapt(npc, SHOWN)
    code, reason, message = refusal(caught.value)
    assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert said in message
    assert "try again" in message
    assert list(stream.ask(tick(2, part(0, [0], observations(1)))).tick.parts[0].revisions) == before


def acting(client: Client, npc: str) -> Stream:
    stream = Stream(client.acting.Act)
    stream.ask(cast(group(0, "guard", {0: npc})))
    return stream


def test_a_full_disk_stops_commits_and_nothing_else(folder: Path) -> None:
    store = folder / "npcs.db"
    with serving(folder, f"sqlite:///{store}") as (server, address), grpc.insecure_channel(address) as channel:
        client = Client(channel)
        npc = client.create("guard")
        client.adapt(npc, SHOWN)
        stream = acting(client, npc)
        largest = max(path.stat().st_size for path in folder.iterdir() if path.is_file())
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))  # no file grows
        for _ in range(3):
            check_fault(client, npc, stream, "nothing was changed")
            assert (client.get(npc).examples, client.get(npc).revision) == (5, f"{npc}/revisions/2")
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        client.adapt(npc, SHOWN)
        assert client.get(npc).examples == 10
        stream.close()


@pytest.mark.postgres
def test_what_was_acknowledged_in_postgresql_survives_kill_9_and_a_database_that_starts_anew(
    folder: Path, cluster: Cluster
) -> None:
    url, acknowledged = cluster.new_database(), dict[str, int]()
    with serving(folder, url) as (server, address):

        def adapt_until_the_end(name: str) -> None:
            with grpc.insecure_channel(address) as channel, contextlib.suppress(grpc.RpcError):
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
    with serving(folder, url) as (_, address), grpc.insecure_channel(address) as channel:
        client = Client(channel)
        assert sum(acknowledged.values()) > 0
        for npc, examples in acknowledged.items():
            assert client.get(npc).examples in (examples, examples + 5)  # the last answer may not have reached us
        stream = acting(client, npc)
        before = client.get(npc).examples
        cluster.stop()
        try:
            check_fault(client, npc, stream, "try again")
        finally:
            cluster.start()
        assert client.get(npc).examples == before
        client.adapt(npc, clip(toys.spec("mixed"), 5))
        assert client.get(npc).examples == before + 5
        stream.close()
    log = (folder / "log").read_text()
    assert PASSWORD not in log
    assert "***" in log


@pytest.mark.postgres
@pytest.mark.slow
def test_while_postgresql_is_frozen_no_call_waits_for_it_for_ever_and_everybody_acts(
    folder: Path, cluster: Cluster
) -> None:
    with serving(folder, cluster.new_database()) as (_, address), grpc.insecure_channel(address) as channel:
        client = Client(channel)
        npc = client.create("guard")
        stream = acting(client, npc)
        with cluster.frozen(), ThreadPoolExecutor(1) as threads:
            began, longest, frames = time.monotonic(), 0.0, 0
            adapting = threads.submit(client.adapt, npc, SHOWN)
            while not adapting.done():
                before = time.monotonic()
                assert list(stream.ask(tick(1, part(0, [0], observations(1)))).tick.parts[0].revisions) == [1]
                longest, frames = max(longest, time.monotonic() - before), frames + 1
                time.sleep(0.01)
            error = adapting.exception()
            assert isinstance(error, grpc.RpcError)
            assert refusal(error)[1] == "STORE_UNAVAILABLE"
            assert time.monotonic() - began < 15
            assert frames > 100
            assert longest < 1
            check_fault(client, npc, stream, "let others wait in vain")
        time.sleep(patience.REST_SECONDS)
        assert client.adapt(npc, SHOWN)[-1].committed.revision.examples == 5
        assert list(stream.ask(tick(2, part(0, [0], observations(1)))).tick.parts[0].revisions) == [2]
        stream.close()
