"""Runs `npcmeta serve` as the game's neighbour: a real server in a process of its own."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

START_SECONDS = 240.0
"""A machine that is busy with other work takes its time to load torch."""
INTERRUPTED = (-signal.SIGINT, 130, 0)
"""Exit statuses of a server that Ctrl-C has ended; the last one if it was loaded far enough to end in order."""


class Address(NamedTuple):
    """Where the server listens, on this machine."""

    grpc: str
    http: str
    pid: int = 0


@contextlib.contextmanager
def server(archetypes: Path, store: Path, log: Path, more: Sequence[str] = ()) -> Iterator[Address]:
    """Starts a server over a folder of archetypes, waits until it is healthy, and stops it at the end.

    Args:
        archetypes: What it serves.
        store: The database's file.
        log: Where to write what it says.
        more: Further options of `npcmeta serve`.

    Raises:
        RuntimeError: If it does not become healthy; the message names its log.
    """
    port, http_port = free_port(), free_port()
    command = [sys.executable, "-m", "npcmeta_server.cli", "serve", "--archetypes", str(archetypes),
               "--store", f"sqlite:///{store}", "--port", str(port), "--http-port", str(http_port), *more]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            address = Address(f"127.0.0.1:{port}", f"http://127.0.0.1:{http_port}", process.pid)
            wait_until_healthy(process, address, log)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_healthy(process: subprocess.Popen[bytes], address: Address, log: Path) -> None:
    """Waits until the server says that it serves; raises RuntimeError as `server` does.

    Raises:
        KeyboardInterrupt: If that is what ended it: Ctrl-C reaches it before whoever waits here.
    """
    deadline = time.monotonic() + START_SECONDS
    with grpc.insecure_channel(address.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < deadline and process.poll() is None:
            try:
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
            except grpc.RpcError:
                time.sleep(0.1)
                continue
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
            time.sleep(0.1)
    ended = process.poll()
    if ended in INTERRUPTED:
        raise KeyboardInterrupt
    if ended is not None:
        raise RuntimeError(f"the server ended with exit status {ended} before it served; its log is {log}")
    raise RuntimeError(f"the server did not become healthy within {START_SECONDS:.0f} seconds; its log is {log}")


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
