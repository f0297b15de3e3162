"""An upgrade goes on after a restart, however the server ended, and moves everybody once."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from npcmeta_server.demo import host
from npcmeta_server.gen.npcmeta.v1 import upgrades_pb2
from tests.server.client import observations
from tests.server.test_uploads import get
from tests.server.upgrading.playing import Files, Upgrading, teach, wait_for
from tests.soak.victim import serve_command

PEOPLE = 150
"""So many that an upgrade takes longer than to look at each of them twice."""


@contextlib.contextmanager
def killed(folder: Path) -> Iterator[Upgrading]:
    """A server in a folder, which is killed at the end."""
    ports = host.free_port(), host.free_port()
    address = host.Address(f"127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(serve_command(folder, *ports), stdout=log, stderr=log)
    try:
        host.wait_until_healthy(process, address, folder / "log")
        with grpc.insecure_channel(address.grpc) as channel:
            yield Upgrading(channel)
            os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_an_upgrade_goes_on_after_kill_9_and_moves_everybody_once(files: Files, tmp_path: Path) -> None:
    (tmp_path / "archetypes").symlink_to(files.folder)
    with killed(tmp_path) as upgrading:
        npcs = [upgrading.client.create("guard", f"npc-{i}") for i in range(PEOPLE)]
        for npc in npcs[::5]:
            teach(upgrading.client, npc, 20)
        begun = upgrading.begin(revision := upgrading.upload(files.new), tolerance=100.0)
        wait_for(lambda: upgrading.get(begun).moved >= 8)
    for _ in range(2):  # between what was counted and what was not yet
        with killed(tmp_path) as upgrading:
            assert upgrading.get(begun).state == upgrades_pb2.UPGRADE_RUNNING
            before = {npc: upgrading.client.get(npc).revision for npc in npcs}
            wait_for(lambda before=before: any(upgrading.client.get(npc).revision != before[npc] for npc in npcs))
    store = tmp_path / "npcs.db"
    with host.server(files.folder, store, tmp_path / "again") as again, grpc.insecure_channel(again.grpc) as channel:
        upgrading = Upgrading(channel)
        done = upgrading.end(begun)
        assert (done.npcs, done.moved, done.kept, done.failed) == (PEOPLE, PEOPLE, 0, 0)
        for i, npc in enumerate(npcs):
            found = [each.archetype_revision for each in upgrading.revisions(npc)]
            assert found == [revision] + [files.old.revision] * (2 if i % 5 == 0 else 1)
        assert len(upgrading.client.act_once("guard", npcs, observations(PEOPLE)).revisions) == PEOPLE
        assert get(upgrading.client).revision == revision


def test_an_upgrade_goes_on_after_an_orderly_stop(files: Files, tmp_path: Path) -> None:
    where = files.folder, tmp_path / "npcs.db", tmp_path / "log"
    with host.server(*where) as address, grpc.insecure_channel(address.grpc) as channel:
        upgrading = Upgrading(channel)
        npcs = [upgrading.client.create("guard", f"npc-{i}") for i in range(40)]
        begun = upgrading.begin(upgrading.upload(files.new), npcs=npcs)
        wait_for(lambda: upgrading.get(begun).moved)
    assert "ERROR" not in where[2].read_text()
    with host.server(*where) as address, grpc.insecure_channel(address.grpc) as channel:
        upgrading = Upgrading(channel)
        assert upgrading.end(begun).moved == 40
        assert get(upgrading.client).revision == files.old.revision  # only these NPCs were to move
