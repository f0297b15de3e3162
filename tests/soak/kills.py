"""kill -9 of the server at random moments under load: what was acknowledged is there, and nothing is there by half."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from npcmeta_server.gen.npcmeta.v1 import npcs_pb2, resources_pb2
from tests import toys
from tests.server.client import Client, clip, observations
from tests.soak.report import Report, Tell
from tests.soak.victim import ARCHETYPE, Victim, victim

SHOWN = clip(toys.spec("mixed"), 5)
CLIENTS = 4
LONGEST_SECONDS = 1.5
"""Of load before a kill, at most."""


@dataclass
class Ledger:
    """What one client was told of its NPC, which nobody else touches."""

    npc: str
    exists: bool = False
    examples: int = 0
    clips: set[str] = field(default_factory=set)
    doubt: str = ""  # what was asked for and not answered
    told: int = 0  # answers so far


def run(folder: Path, times: int, seed: int, tell: Tell) -> Report:
    """Kills a server `times` times, and looks at all NPCs after each."""
    chance = random.Random(seed)
    ledgers = [Ledger(f"npcs/npc-{number}") for number in range(CLIENTS)]
    seconds = []
    with victim(folder) as server:
        for number in range(times):
            _load(server, ledgers, chance.uniform(0, LONGEST_SECONDS), chance)
            began = time.monotonic()
            server.start()
            seconds.append(time.monotonic() - began)
            for ledger in ledgers:
                _check(server, ledger)
            tell((number + 1) / times)
    figures = {"kills": times, "acknowledged": sum(ledger.told for ledger in ledgers)}
    return Report("kills", figures | {"restart_seconds": round(sorted(seconds)[len(seconds) // 2], 2)})


def _load(server: Victim, ledgers: list[Ledger], seconds: float, chance: random.Random) -> None:
    threads = [threading.Thread(target=_work, args=(server, each, chance.randrange(1 << 30))) for each in ledgers]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    server.kill()
    for thread in threads:
        thread.join()


def _work(server: Victim, ledger: Ledger, seed: int) -> None:
    """Asks for one thing after another until the server is gone."""
    chance = random.Random(seed)
    with grpc.insecure_channel(server.address.grpc) as channel, contextlib.suppress(grpc.RpcError):
        client = Client(channel)
        while True:
            ledger.doubt = _next(ledger, chance)
            _ask(client, ledger)
            ledger.doubt = ""
            ledger.told += 1


def _next(ledger: Ledger, chance: random.Random) -> str:
    if not ledger.exists:
        return "create"
    return chance.choices(["adapt", "demonstrate", "delete"], [8, 3, 1 if ledger.examples > 20 else 0])[0]


def _ask(client: Client, ledger: Ledger) -> None:
    if ledger.doubt == "create":
        client.create(ARCHETYPE, ledger.npc.removeprefix("npcs/"))
        ledger.exists, ledger.examples, ledger.clips = True, 0, set()
    elif ledger.doubt == "adapt":
        committed = client.adapt(ledger.npc, SHOWN)[-1].committed
        ledger.examples = committed.revision.examples
        ledger.clips |= set(committed.demonstrations)
    elif ledger.doubt == "demonstrate":
        asked = npcs_pb2.CreateDemonstrationRequest(parent=ledger.npc, examples=SHOWN)
        ledger.clips.add(client.npcs.CreateDemonstration(asked).name)
    else:
        client.npcs.DeleteNpc(npcs_pb2.DeleteNpcRequest(name=ledger.npc))
        ledger.exists, ledger.examples, ledger.clips = False, 0, set()


def _check(server: Victim, ledger: Ledger) -> None:
    """What is there is what was told, or that and the whole of what was in doubt; then it is what is known."""
    with grpc.insecure_channel(server.address.grpc) as channel:
        client = Client(channel)
        try:
            found = client.get(ledger.npc)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND, error
            assert not ledger.exists or ledger.doubt == "delete", f"{ledger} is lost"
            ledger.exists, ledger.examples, ledger.clips = False, 0, set()
            return
        assert ledger.exists or ledger.doubt == "create", f"{ledger} is there"
        clips = {each.name for each in _demonstrations(client, ledger.npc)}
        new = len(clips - ledger.clips)
        assert clips >= ledger.clips, f"{ledger}: lost {ledger.clips - clips}"
        assert new == (ledger.doubt == "demonstrate" and bool(new)) + (found.examples - ledger.examples) // 5
        assert found.examples in (ledger.examples, ledger.examples + 5 * (ledger.doubt == "adapt")), (found, ledger)
        number = int(found.revision.rpartition("/")[2])
        assert number == 1 + found.examples // 5
        newest = client.npcs.ListRevisions(npcs_pb2.ListRevisionsRequest(parent=ledger.npc, page_size=1)).revisions[0]
        assert (newest.number, newest.examples) == (number, found.examples)
        assert list(client.act_once(ARCHETYPE, [ledger.npc], observations(1)).revisions) == [number]
        ledger.exists, ledger.examples, ledger.clips = True, found.examples, clips


def _demonstrations(client: Client, npc: str) -> list[resources_pb2.Demonstration]:
    found, token = [], ""
    while True:
        page = client.npcs.ListDemonstrations(npcs_pb2.ListDemonstrationsRequest(parent=npc, page_token=token))
        found += page.demonstrations
        if not (token := page.next_page_token):
            return found
