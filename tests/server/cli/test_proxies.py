"""A proxy in the environment is for other machines: what runs on this one is called without it."""

import os
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from npcmeta_server.cli import main
from npcmeta_server.demo.host import Address, free_port


@pytest.mark.parametrize("spared", ["", "intranet.example"])
def test_a_server_on_this_machine_is_called_without_the_proxy(
    server: Address, monkeypatch: pytest.MonkeyPatch, spared: str
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")  # where nobody listens
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", spared)
    assert main(["npc", "list", "--server", server.http]) == 0
    assert main(["top", "--once", "--server", server.http]) == 0
    assert os.environ["no_proxy"].startswith(spared)
    with grpc.insecure_channel(server.grpc) as channel:  # as the demo calls it
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_no_proxy_for_anybody_stays_that(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("NO_PROXY", "*")
    assert main(["data", "inspect", str(tmp_path / "nowhere")]) == 1
    assert os.environ["no_proxy"] == "*"
