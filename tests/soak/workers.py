"""The adaptation process is killed at random moments: others act and adapt on, and no job is left open."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from pathlib import Path

import grpc
import numpy as np

from tests import toys
from tests.server.client import Client, Stream, cast, clip, group, observations, part, refusal, tick
from tests.soak.report import Report, Tell
from tests.soak.victim import ARCHETYPE, Victim, children, victim

SHOWN = clip(toys.spec("mixed"), 50)
NPCS, ADAPTING = 100, 4
SEEN = observations(NPCS)
FRAME_SECONDS = 0.02


class Players:
    """A game that acts all the time, and designers who adapt all the time."""

    def __init__(self, server: Victim) -> None:
        """Creates the NPCs."""
        self.stop, self.failure = threading.Event(), ""
        self.frames: list[float] = []  # seconds that each took
        self.committed, self.refused = 0, 0
        self._server = server
        with grpc.insecure_channel(server.address.grpc) as channel:
            self._npcs = [Client(channel).create(ARCHETYPE) for _ in range(NPCS)]
        self._threads = [threading.Thread(target=self._guarded, args=(self._play,))]
        self._threads += [
            threading.Thread(target=self._guarded, args=(self._adapt, self._npcs[i])) for i in range(ADAPTING)
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Stops, and says what went wrong."""
        self.stop.set()
        for thread in self._threads:
            thread.join()
        assert not self.failure, self.failure

    def _guarded(self, work: object, *arguments: object) -> None:
        try:
            work(*arguments)  # type: ignore[operator]
        except BaseException as error:
            self.failure = self.failure or repr(error)
            self.stop.set()

    def _play(self) -> None:
        with grpc.insecure_channel(self._server.address.grpc) as channel:
            stream = Stream(Client(channel).acting.Act)
            stream.ask(cast(group(0, ARCHETYPE, dict(enumerate(self._npcs)))))
            newest = [0] * NPCS
            while not self.stop.is_set():
                began, number = time.monotonic(), len(self.frames)
                result = stream.ask(tick(number, part(0, range(NPCS), SEEN))).tick
                self.frames.append(time.monotonic() - began)
                [answered] = result.parts
                assert (result.number, len(answered.revisions)) == (number, NPCS)
                assert all(a >= b for a, b in zip(answered.revisions, newest, strict=True))
                newest = list(answered.revisions)
                time.sleep(max(0.0, FRAME_SECONDS - self.frames[-1]))

    def _adapt(self, npc: str) -> None:
        with grpc.insecure_channel(self._server.address.grpc) as channel:
            client, examples = Client(channel), 0
            while not self.stop.is_set():
                try:
                    told = client.adapt(npc, SHOWN, from_scratch=True)[-1].committed.revision
                    self.committed += 1
                    assert told.examples == 50
                    examples = 50
                except grpc.RpcError as error:
                    assert refusal(error)[1] == "ADAPTATION_FAILED", error
                    self.refused += 1
                assert client.get(npc).examples == examples


def run(folder: Path, times: int, seed: int, tell: Tell) -> Report:
    """Kills the adaptation process `times` times."""
    chance = random.Random(seed)
    with victim(folder) as server:
        players = Players(server)
        for number in range(times):
            while not (found := children(server.pid)) and not players.stop.is_set():
                time.sleep(0.01)
            # From its first breath on: reading archetypes, waiting, in the middle of an inner loop.
            time.sleep(chance.uniform(0, 4))
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(found[0], signal.SIGKILL)
            while children(server.pid) == found and not players.stop.is_set():
                time.sleep(0.01)
            tell((number + 1) / times)
        goal = players.committed + 2 * ADAPTING
        while players.committed < goal and not players.stop.is_set():
            time.sleep(0.01)
        players.end()
    p99 = 1e3 * float(np.quantile(players.frames, 0.99))
    figures: dict[str, float | int | str] = {"kills": times, "frames": len(players.frames)}
    figures |= {"committed": players.committed, "refused": players.refused, "frame_p99_ms": round(p99, 2)}
    return Report("workers", figures)
