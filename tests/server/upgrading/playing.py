"""What tests of upgrades play with: revisions of one archetype, a game that ticks, and calls about upgrades."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import onnxruntime

from npcmeta.archetype import Archetype
from npcmeta_server.gen.npcmeta.v1 import npcs_pb2, resources_pb2, upgrades_pb2, upgrades_pb2_grpc
from tests import toys
from tests.server.client import Client, Stream, array, cast, clip, group, observations, part, tick
from tests.server.test_uploads import chunks, get

SPEC = toys.spec("mixed")
WAIT_SECONDS = 120.0


class Files(NamedTuple):
    """Three revisions of one archetype, and a folder with the first."""

    folder: Path
    old: Archetype
    new: bytes  # as good
    worse: bytes  # never trained


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

    def __enter__(self) -> Player:
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


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
