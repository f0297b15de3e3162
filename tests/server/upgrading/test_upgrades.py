"""Upgrades over gRPC: NPCs move while they act, without a wrong frame; those that would be worse stay."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import onnxruntime
import pytest

from npcmeta.archetype import Archetype
from npcmeta_server.demo import host
from npcmeta_server.gen.npcmeta.v1 import archetypes_pb2, npcs_pb2, resources_pb2, upgrades_pb2, upgrades_pb2_grpc
from tests import toys
from tests.server import conftest
from tests.server.client import Client, Stream, adapt_requests, array, cast, clip, group, observations, part, tick
from tests.server.test_life import serve_command
from tests.server.test_uploads import chunks, get, refused

SPEC = toys.spec("mixed")
WAIT_SECONDS = 120.0


class Files(NamedTuple):
    """Three revisions of one archetype, and a folder with the first."""

    folder: Path
    old: Archetype
    new: bytes  # as good
    worse: bytes  # never trained


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folders = [tmp_path_factory.mktemp(name) for name in ("old", "new", "worse")]
    old, _, _ = (
        conftest.save("guard", folder, seed, trained=seed != 3) for folder, seed in zip(folders, (1, 2, 3), strict=True)
    )
    new, worse = ((folder / "guard.safetensors").read_bytes() for folder in folders[1:])
    return Files(folders[0], old, new, worse)


@pytest.fixture
def server(files: Files, tmp_path: Path) -> Iterator[host.Address]:
    with host.server(files.folder, tmp_path / "npcs.db", tmp_path / "log") as address:
        yield address
    assert " ERROR npcmeta_server" not in (tmp_path / "log").read_text()


class Upgrading:
    """The upgrades of the guard."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.stub = upgrades_pb2_grpc.UpgradeServiceStub(channel)
        self.client = Client(channel)

    def upload(self, data: bytes) -> str:
        """The revision, which acts from now on but is not current."""
        before = {each.revision for each in get(self.client).revisions}
        return next(
            each.revision
            for each in self.client.archetypes.UploadArchetype(chunks(data)).revisions
            if each.revision not in before
        )

    def begin(self, revision: str, **more: Any) -> upgrades_pb2.Upgrade:
        wanted = upgrades_pb2.UpgradeNpcsRequest(archetype="archetypes/guard", revision=revision, **more)
        return self.stub.UpgradeNpcs(wanted)

    def end(self, upgrade: upgrades_pb2.Upgrade) -> upgrades_pb2.Upgrade:
        deadline = time.monotonic() + WAIT_SECONDS
        while (found := self.get(upgrade)).state == upgrades_pb2.UPGRADE_RUNNING and time.monotonic() < deadline:
            time.sleep(0.05)
        assert found.state == upgrades_pb2.UPGRADE_DONE
        return found

    def get(self, upgrade: upgrades_pb2.Upgrade) -> upgrades_pb2.Upgrade:
        return self.stub.GetUpgrade(upgrades_pb2.GetUpgradeRequest(name=upgrade.name))

    def told(self, upgrade: upgrades_pb2.Upgrade) -> dict[str, upgrades_pb2.UpgradeOutcome]:
        asked = upgrades_pb2.ListUpgradeOutcomesRequest(parent=upgrade.name)
        return {each.npc: each for each in self.stub.ListUpgradeOutcomes(asked).outcomes}

    def revisions(self, npc: str) -> list[resources_pb2.Revision]:
        return list(self.client.npcs.ListRevisions(npcs_pb2.ListRevisionsRequest(parent=npc)).revisions)


@pytest.fixture
def upgrading(server: host.Address) -> Iterator[Upgrading]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield Upgrading(channel)


class Player:
    """A game that ticks every 20 ms, with all of its NPCs in one group, each of which always sees the same."""

    def __init__(self, client: Client, npcs: Sequence[str]) -> None:
        self._stream, self._npcs = Stream(client.acting.Act), npcs
        [seated] = self._stream.ask(cast(group(0, "guard", dict(enumerate(npcs))))).cast.groups
        assert not seated.refused
        self.seen = observations(len(npcs), 9)
        self.acted: dict[tuple[str, int], set[bytes]] = {}
        self.frames, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._play)
        self._errors: list[str] = []

    def __enter__(self) -> "Player":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._stream.close()
        assert self._errors == []

    def _play(self) -> None:
        while not self._stop.wait(0.02):
            self.frames += 1
            frame = self._stream.ask(tick(self.frames, part(0, range(len(self._npcs)), self.seen))).tick
            answer = frame.parts[0]
            if frame.number != self.frames or answer.status.code or len(answer.revisions) != len(self._npcs):
                self._errors.append(str(frame)[:300])
                return
            moves = array(answer.continuous_actions)
            for npc, revision, move in zip(self._npcs, answer.revisions, moves, strict=True):
                self.acted.setdefault((npc, revision), set()).add(move.tobytes())


def own_moves(client: Client, npc: str, seen: np.ndarray) -> tuple[int, np.ndarray]:
    """The revision that acts, and what its own file decides in plain onnxruntime."""
    header, model = client.fetch(f"{npc}/assets/ort")
    feeds = {"observation": seen[None], "action_mask": np.ones((1, 5), bool), "noise": np.zeros((1, 7), np.float32)}
    return header.npc_revision, onnxruntime.InferenceSession(model).run(["continuous_actions"], feeds)[0][0]


def teach(client: Client, npc: str, *rows: int) -> None:
    client.adapt(npc, *(clip(SPEC, count, seed) for seed, count in enumerate(rows)))


def test_everybody_moves_while_they_act_and_no_frame_is_dropped_or_wrong(upgrading: Upgrading, files: Files) -> None:
    client = upgrading.client
    npcs = [client.create("guard", f"npc-{i}") for i in range(100)]
    for i, npc in enumerate(npcs[:40]):
        teach(client, npc, 10 + i)
    with Player(client, npcs) as player:
        expected = {}
        for i, npc in enumerate(npcs):
            revision, moves = own_moves(client, npc, player.seen[i])
            expected[npc, revision] = moves
        revision = upgrading.upload(files.new)
        begun = upgrading.begin(revision, tolerance=100.0)
        assert get(client).revision == revision
        late = client.create("guard", "late")
        done = upgrading.end(begun)
        for i, npc in enumerate(npcs):
            revision_now, moves = own_moves(client, npc, player.seen[i])
            expected[npc, revision_now] = moves
        time.sleep(0.2)
    assert (done.npcs, done.moved, done.kept, done.failed) == (100, 100, 0, 0)
    assert player.frames > 20
    assert set(player.acted) == set(expected)
    for key, found in player.acted.items():
        [move] = found  # always the same, whoever else was moved meanwhile
        np.testing.assert_allclose(np.frombuffer(move, np.float32), expected[key], atol=1e-5)
    assert all(not np.allclose(expected[npc, 3], expected[npc, 2]) for npc in npcs[:40])
    taught, untaught = client.get(npcs[0]), client.get(npcs[99])
    assert (taught.examples, taught.revision, untaught.revision) == (
        10,
        f"{npcs[0]}/revisions/3",
        "npcs/npc-99/revisions/2",
    )
    assert upgrading.revisions(late)[0].archetype_revision == revision
    teach(client, npcs[0], 7)  # demonstrations go on to count
    assert client.get(npcs[0]).examples == 17
    assert [each.npcs for each in get(client).revisions if each.current] != [0]


def test_who_would_be_worse_stays_with_a_reason_and_rolling_back_takes_everybody(
    upgrading: Upgrading, files: Files
) -> None:
    client, old = upgrading.client, files.old.revision
    teach(client, taught := client.create("guard", "taught"), 40, 40)
    untaught = client.create("guard", "untaught")
    teach(client, forgetful := client.create("guard", "forgetful"), 20)
    kept = client.npcs.ListDemonstrations(npcs_pb2.ListDemonstrationsRequest(parent=forgetful)).demonstrations
    client.npcs.DeleteDemonstration(npcs_pb2.DeleteDemonstrationRequest(name=kept[0].name))
    worse = upgrading.upload(files.worse)
    done = upgrading.end(begun := upgrading.begin(worse, request_id="friday"))
    assert (done.npcs, done.moved, done.kept, done.failed) == (3, 1, 2, 0)
    told = upgrading.told(done)
    assert set(told) == {taught, forgetful}
    assert "it would be worse" in told[taught].reason
    assert told[taught].nll_after > told[taught].nll_before + 0.05
    assert "of which 0 are left" in told[forgetful].reason
    assert [upgrading.revisions(npc)[0].archetype_revision for npc in (taught, untaught)] == [old, worse]
    assert upgrading.begin(worse, request_id="friday").name == begun.name
    moved = upgrading.end(upgrading.begin(worse, npcs=[taught], unchecked=True))
    assert (moved.npcs, moved.moved) == (1, 1)
    back = upgrading.end(upgrading.begin(old, unchecked=True))
    assert (back.moved, back.kept) == (2, 0)
    assert {upgrading.revisions(npc)[0].archetype_revision for npc in (taught, untaught, forgetful)} == {old}
    assert get(client).revision == old
    before, after = (
        each.support_nll for each in upgrading.revisions(taught) if each.archetype_revision == old and each.examples
    )
    assert after == pytest.approx(before, abs=1e-5)
    retired = archetypes_pb2.RetireArchetypeRequest(name="archetypes/guard", revision=worse)
    client.archetypes.RetireArchetype(retired)
    assert [each.active for each in get(client).revisions] == [True, False]
    again = f"{untaught}/revisions/2"  # which the other revision made: it is loaded for that
    assert client.npcs.RollbackNpc(npcs_pb2.RollbackNpcRequest(name=untaught, revision=again)).revision == again
    assert list(client.act_once("guard", [untaught, taught], observations(2)).revisions) == [2, 4]
    assert [each.active for each in get(client).revisions] == [True, True]
    listed = upgrading.stub.ListUpgrades(upgrades_pb2.ListUpgradesRequest(parent="archetypes/guard", page_size=2))
    assert [each.name for each in listed.upgrades] == [back.name, moved.name]


def test_one_upgrade_at_a_time_can_be_cancelled_and_asks_for_what_there_is(upgrading: Upgrading, files: Files) -> None:
    client = upgrading.client
    for i in range(60):
        client.create("guard", f"npc-{i}")
    revision = upgrading.upload(files.new)
    begun = upgrading.begin(revision)
    assert refused(lambda: upgrading.begin(files.old.revision))[0] == "UPGRADE_IN_PROGRESS"
    cancelled = upgrading.stub.CancelUpgrade(upgrades_pb2.CancelUpgradeRequest(name=begun.name))
    assert cancelled.state == upgrades_pb2.UPGRADE_CANCELLED
    assert cancelled.end_time.seconds
    time.sleep(1)
    moved = upgrading.get(begun).moved
    time.sleep(1)
    assert upgrading.get(begun).moved == moved < 60
    assert refused(lambda: upgrading.begin("no such revision"))[0] == "ARCHETYPE_NOT_FOUND"
    assert refused(lambda: upgrading.begin(revision, tolerance=-1.0))[0] == "INVALID_ARGUMENT"
    assert refused(lambda: upgrading.begin(revision, npcs=["bob"]))[0] == "INVALID_NAME"
    lost = upgrades_pb2.Upgrade(name="archetypes/guard/upgrades/x")
    assert refused(lambda: upgrading.get(lost))[0] == "UPGRADE_NOT_FOUND"
    assert upgrading.end(upgrading.begin(revision, npcs=["npcs/nobody", "npcs/npc-7"])).failed == 0


def test_whoever_is_being_adapted_is_left_alone_until_that_has_ended(upgrading: Upgrading, files: Files) -> None:
    client = upgrading.client
    npc, revision = client.create("guard", "amy"), upgrading.upload(files.new)
    setup, shown, commit = adapt_requests(npc, clip(SPEC, 20))
    lesson = Stream(client.adapting.Adapt)
    assert lesson.ask(setup).WhichOneof("response") == "started"
    begun = upgrading.begin(revision, tolerance=100.0)
    time.sleep(1)
    for request in (shown, commit):
        lesson.send(request)
    committed = [each for each in lesson.call if each.WhichOneof("response") == "committed"]
    assert committed[0].committed.revision.archetype_revision == files.old.revision
    done = upgrading.end(begun)
    assert (done.moved, done.failed) == (1, 0)
    newest = upgrading.revisions(npc)[0]
    assert (newest.archetype_revision, newest.examples) == (revision, 20)


def test_an_upgrade_goes_on_after_kill_9_and_moves_everybody_once(files: Files, tmp_path: Path) -> None:
    store, folder = tmp_path / "npcs.db", tmp_path / "run"
    folder.mkdir()
    (folder / "archetypes").symlink_to(files.folder)
    ports = host.free_port(), host.free_port()
    address = host.Address(f"127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}")
    command = [text.replace(str(folder / "npcs.db"), str(store)) for text in serve_command(folder, *ports)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        host.wait_until_healthy(process, address, folder / "log")
        with grpc.insecure_channel(address.grpc) as channel:
            upgrading = Upgrading(channel)
            npcs = [upgrading.client.create("guard", f"npc-{i}") for i in range(50)]
            for npc in npcs[::5]:
                teach(upgrading.client, npc, 20)
            begun = upgrading.begin(revision := upgrading.upload(files.new), tolerance=100.0)
            deadline = time.monotonic() + WAIT_SECONDS
            while upgrading.get(begun).moved < 10 and time.monotonic() < deadline:
                time.sleep(0.01)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with host.server(files.folder, store, tmp_path / "again") as again, grpc.insecure_channel(again.grpc) as channel:
        upgrading = Upgrading(channel)
        done = upgrading.end(begun)
        assert (done.npcs, done.moved, done.kept, done.failed) == (50, 50, 0, 0)
        for i, npc in enumerate(npcs):
            found = [each.archetype_revision for each in upgrading.revisions(npc)]
            assert found == [revision] + [files.old.revision] * (2 if i % 5 == 0 else 1)
        assert len(upgrading.client.act_once("guard", npcs, observations(50)).revisions) == 50
        assert get(upgrading.client).revision == revision
