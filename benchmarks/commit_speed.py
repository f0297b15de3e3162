"""Commits per second of clients that commit at the same time: a transaction for each, or one for those that wait.

OMP_NUM_THREADS=1 python benchmarks/commit_speed.py [--clients 64] [--commits 10] [--turns 3] [--store URL] [--json F]

Each client has an NPC of its own and commits a revision (a state of 5 KB, a clip of 20 KB) whenever the last one was
answered, through the roster as the server does, without an inner loop. "alone" gives each commit a transaction and a
wait for the disk of its own, "together" is the server as it is. In turns, medians. The store is a new file in the
working folder, or an empty database at --store.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Generator

from npcmeta.archetype import Archetype, begin_npc, save_archetype
from npcmeta.learners import settings_type
from npcmeta.types import ActionSpec, BehaviorSpec, Normaliser
from npcmeta_server import catalog, commits
from npcmeta_server.catalog import Catalog
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.roster import Roster
from npcmeta_server.store import ONCE, CommitRequest, NpcRow, Store, new_etag

SPEC = BehaviorSpec(32, ActionSpec(2, (5,)), 10.0)
STATE_BYTES, CLIP_BYTES = 5_000, 20_000
WAYS = {"alone": 1, "together": commits.AT_ONCE}


def archetype_in(folder: Path, learner: str) -> Catalog:
    """An untrained archetype, saved and loaded as a server loads it."""
    settings = settings_type(learner)()
    meta = settings.build(SPEC).init(Generator().manual_seed(0))
    normaliser = Normaliser((0.0,) * 32, (1.0,) * 32)
    save_archetype(
        Archetype("bench", "none", learner, settings, SPEC, normaliser, {}, {}, meta), folder / "bench.safetensors"
    )
    return catalog.load(folder)


def create(store: Store, found: Catalog, npc: str) -> None:
    """An NPC with a first state of the usual size."""
    now, revision = time.time(), found.hosted["bench"].archetype.revision
    store.create_npc(NpcRow(npc, "bench", "", 1, 1, 0, now, now, new_etag()), revision, os.urandom(STATE_BYTES), ONCE)


async def turn(
    roster: Roster, store: Store, storage: OwnerThread, found: Catalog, clients: int, times: int
) -> list[float]:
    """Seconds that each commit took; the clients go on without waiting for each other."""
    archetype = found.hosted["bench"].archetype
    state = begin_npc(archetype, "bench").state

    async def client(number: int) -> list[float]:
        npc, taken = f"npc-{number}", []
        for _ in range(times):
            row = await storage.run(store.npc, npc)
            wanted = CommitRequest(npc, row.etag, archetype.revision, 20, 0.5, os.urandom(STATE_BYTES),
                                   ((os.urandom(CLIP_BYTES), 20),), (), True)  # fmt: skip
            began = time.perf_counter()
            await roster.commit(wanted, ONCE, state)
            taken.append(time.perf_counter() - began)
        return taken

    return [each for taken in await asyncio.gather(*map(client, range(clients))) for each in taken]


async def measure(given: argparse.Namespace, folder: Path, progress: Progress) -> dict[str, dict[str, float]]:
    """Commits per second and milliseconds of one, each way."""
    found, storage = archetype_in(folder, "cnp"), OwnerThread("store")
    store = await storage.run(Store, given.store or f"sqlite:///{folder / 'npcs.db'}")
    roster = Roster(found, store, storage, 64 << 20)
    for number in range(given.clients):
        await storage.run(create, store, found, f"npc-{number}")
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    waits: dict[str, list[float]] = {way: [] for way in WAYS}
    task = progress.add_task("commits", total=given.turns * len(WAYS))
    for _ in range(given.turns):
        for way, commits.AT_ONCE in WAYS.items():
            began = time.perf_counter()
            taken = await turn(roster, store, storage, found, given.clients, given.commits)
            rates[way].append(len(taken) / (time.perf_counter() - began))
            waits[way] += taken
            progress.advance(task)
    roster.close()
    await storage.run(store.close)
    storage.close()
    return {
        way: {"commits_per_second": statistics.median(rates[way]), "milliseconds": 1e3 * statistics.median(waits[way])}
        for way in WAYS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--commits", type=int, default=10)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--store", default="")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as name, Progress() as progress:
        found = asyncio.run(measure(given, Path(name), progress))
    table = Table("way", "commits per second", "milliseconds of one (median)", title=f"{given.clients} clients")
    for way, row in found.items():
        table.add_row(way, f"{row['commits_per_second']:.0f}", f"{row['milliseconds']:.1f}")
    Console().print(table)
    if given.json:
        given.json.write_text(json.dumps({"clients": given.clients, "ways": found}, indent=1))


if __name__ == "__main__":
    main()
