"""Create, adapt, act, delete, over and over: memory and disk stay as they are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from npcmeta_server.gen.npcmeta.v1 import npcs_pb2
from tests import toys
from tests.server.client import Client, Stream, cast, clip, group, observations, part, tick
from tests.soak.report import Report, Tell
from tests.soak.victim import ARCHETYPE, Victim, resident_mebibytes, victim

SHOWN = clip(toys.spec("mixed"), 50)
SEEN = observations(1)
AT_ONCE = 8
PARTS = 5
GROWTH = 1.05
"""How much more memory, and disk, there may be at the end than after the first of the parts."""


def run(folder: Path, cycles: int, seed: int, tell: Tell) -> Report:
    """Lets so many NPCs live and end."""
    del seed
    with victim(folder) as server:
        memory, disk = [], []
        for number in range(PARTS):
            _live(server, cycles // PARTS)
            memory.append(resident_mebibytes(server.pid))
            disk.append(sum(each.stat().st_size for each in folder.glob("npcs.db*")) / (1 << 20))
            server.check()
            tell((number + 1) / PARTS)
        with grpc.insecure_channel(server.address.grpc) as channel:
            assert not Client(channel).npcs.ListNpcs(npcs_pb2.ListNpcsRequest()).npcs
    assert memory[-1] < GROWTH * memory[0] + 4, f"MiB of memory after each fifth: {memory}"
    assert disk[-1] < GROWTH * disk[0] + 4, f"MiB on disk after each fifth: {disk}"
    shown = {"memory_mebibytes": memory, "disk_mebibytes": disk}
    return Report("churn", {"cycles": cycles} | {k: ", ".join(f"{v:.1f}" for v in each) for k, each in shown.items()})


def _live(server: Victim, cycles: int) -> None:
    with grpc.insecure_channel(server.address.grpc) as channel, ThreadPoolExecutor(AT_ONCE) as threads:
        for _ in threads.map(lambda _: _one(Client(channel)), range(cycles)):
            pass


def _one(client: Client) -> None:
    """A short life."""
    npc = client.create(ARCHETYPE)
    stream = Stream(client.acting.Act)
    stream.ask(cast(group(0, ARCHETYPE, {0: npc})))
    committed = client.adapt(npc, SHOWN)[-1].committed
    [answered] = stream.ask(tick(1, part(0, [0], SEEN))).tick.parts
    assert list(answered.revisions) == [committed.revision.number]
    stream.close()
    client.npcs.DeleteNpc(npcs_pb2.DeleteNpcRequest(name=npc))
