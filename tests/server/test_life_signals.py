"""SIGHUP: a terminal that goes stops a server as SIGTERM does; a service goes on."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from npcmeta_server.demo import host
from npcmeta_server.demo.host import Address
from tests.server.client import Client, Stream, cast, group, observations, refusal
from tests.server.conftest import save
from tests.soak.victim import children, serve_command

IN_A_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes standard input the terminal that signals when it goes, and becomes another program."""


@contextlib.contextmanager
def started(folder: Path, before: list[str], **more: Any) -> Iterator[tuple[subprocess.Popen[bytes], Address]]:
    (folder / "archetypes").mkdir()
    save("guard", folder / "archetypes")
    address = Address(f"127.0.0.1:{host.free_port()}", f"http://127.0.0.1:{host.free_port()}")
    command = serve_command(folder, *(int(text.rpartition(":")[2]) for text in address[:2]))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*before, *command], stderr=log, start_new_session=True, **more)
    try:
        host.wait_until_healthy(process, address, folder / "log")
        yield process, address
    finally:
        process.kill()
        process.wait()


def test_a_service_goes_on(tmp_path: Path) -> None:
    with started(tmp_path, [], stdout=subprocess.DEVNULL) as (server, address):
        with grpc.insecure_channel(address.grpc) as channel:
            client = Client(channel)
            stream = Stream(client.acting.Act)
            stream.ask(cast(group(0, "guard", {0: client.create("guard")})))
            for pid in (server.pid, *children(server.pid)):
                os.kill(pid, signal.SIGHUP)
            for seed in range(20):
                client.act_once("guard", [client.create("guard")], observations(1, seed))
            stream.close()
        server.terminate()
        assert server.wait(30) == 0
    assert "SIGHUP: nothing to do" in (tmp_path / "log").read_text()


def test_a_terminal_that_goes_stops_the_server_which_was_started_in_it(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    before = [sys.executable, "-c", IN_A_TERMINAL]
    with started(tmp_path, before, stdin=theirs, stdout=theirs) as (server, address):
        os.close(theirs)
        with grpc.insecure_channel(address.grpc) as channel:
            client = Client(channel)
            stream = Stream(client.acting.Act)
            stream.ask(cast(group(0, "guard", {0: client.create("guard")})))
            os.close(ours)
            with pytest.raises(grpc.RpcError) as caught:
                next(stream.call)
            assert refusal(caught.value)[1] == "SHUTTING_DOWN"
        assert server.wait(30) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
