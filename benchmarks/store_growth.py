"""What calls of the store cost with 1,000 to 100,000 NPCs, and how long it takes to open it.

OMP_NUM_THREADS=1 python -m benchmarks.store_growth [--sizes 1000,10000,100000] [--state-bytes 5000] [--calls 200]
                                                    [--store URL] [--json FILE]

A store is filled to each size in turn and opened anew; then each call is made at random places. Medians in
milliseconds: processor time of the calling thread / by the clock, which holds the waits for the disk or the database.
"list" is a page of 100 anywhere, "list archetype" the same of one archetype of twenty, "commit" a new state and a clip
of 20 KB. NPCs are filled in by thousands at a time; the calls that are measured are those of the server. The store is a
new file in the working folder, or an empty database at --store.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table
from sqlalchemy import Connection, func, insert, select

from npcmeta_server.store import ONCE, CommitRequest, NpcFilter, NpcRow, Store, new_etag, schema

ARCHETYPES, CLIP_BYTES, BATCH = 20, 20_000, 1000
Row = dict[str, float]


def name(number: int) -> str:
    """Ids are spread, as those that the server makes are."""
    return hashlib.sha256(b"%d" % number).hexdigest()[:16]


def new_npc(number: int) -> NpcRow:
    now = time.time()
    return NpcRow(name(number), f"archetype-{number % ARCHETYPES}", f"NPC {number}", 1, 1, 0, now, now, new_etag())


def fill(connection: Connection, first: int, count: int, state_bytes: int) -> None:
    """Writes as many NPCs with a first revision each."""
    states = [os.urandom(state_bytes) for _ in range(count)]
    key = (connection.execute(select(func.max(schema.blobs.c.key))).scalar() or 0) + 1
    digests = [hashlib.sha256(state).digest() for state in states]
    rows = [new_npc(number) for number in range(first, first + count)]
    kept = [
        {"key": key + i, "digest": digest, "data": state}
        for i, (digest, state) in enumerate(zip(digests, states, strict=True))
    ]
    connection.execute(insert(schema.blobs), kept)
    connection.execute(insert(schema.npcs), [row._asdict() | {"seed": "1"} for row in rows])
    begun = {"number": 1, "archetype_revision": "0" * 64, "examples": 0, "support_nll": 0.0}
    connection.execute(
        insert(schema.revisions),
        [
            begun | {"npc": row.id, "archetype": row.archetype, "create_time": row.create_time, "blob": key + i}
            for i, row in enumerate(rows)
        ],
    )
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("select setval('blobs_key_seq', (select max(key) from blobs))")


def timed(calls: list[Callable[[], object]]) -> Row:
    """Medians of calls that are made one after another."""
    processor, clock = [], []
    for call in calls:
        began = time.thread_time(), time.perf_counter()
        call()
        processor.append(time.thread_time() - began[0])
        clock.append(time.perf_counter() - began[1])
    return {"processor_ms": 1e3 * statistics.median(processor), "clock_ms": 1e3 * statistics.median(clock)}


def measure(store: Store, size: int, calls: int, state_bytes: int) -> dict[str, Row]:
    """What each call costs in a store of so many NPCs, which it leaves as many as there were."""
    chance = random.Random(size)
    some = [name(chance.randrange(size)) for _ in range(calls)]
    fresh = [new_npc(size + i) for i in range(calls)]
    few = NpcFilter(archetype="archetype-7")

    def committing(npc: str) -> Callable[[], object]:
        clip = ((os.urandom(CLIP_BYTES), 20),)
        wanted = CommitRequest(npc, store.npc(npc).etag, "0" * 64, 20, 0.5, os.urandom(state_bytes), clip, (), False)
        return lambda: store.commit(wanted, ONCE)

    states = [os.urandom(state_bytes) for _ in fresh]
    creating = [
        lambda row=row, state=state: store.create_npc(row, "0" * 64, state, ONCE)
        for row, state in zip(fresh, states, strict=True)
    ]
    return {
        "create": timed(creating),
        "commit": timed([committing(npc) for npc in dict.fromkeys(some)]),
        "get": timed([lambda npc=npc: store.npc(npc) for npc in some]),
        "read the state": timed([lambda npc=npc: store.state(npc) for npc in some]),
        "list": timed([lambda npc=npc: store.npcs(NpcFilter(), npc, 100) for npc in some]),
        "list archetype": timed([lambda npc=npc: store.npcs(few, npc, 100) for npc in some]),
        "delete": timed([lambda row=row: store.delete_npc(row.id, "") for row in fresh]),
    }


def grow(
    url: str, sizes: list[int], given: argparse.Namespace, progress: Progress, task: TaskID
) -> dict[str, dict[str, Row]]:
    """Fills a store to each size and measures it there."""
    found: dict[str, dict[str, Row]] = {}
    filled = 0
    for size in sizes:
        progress.update(task, description=f"filling up to {size:,}")
        store = Store(url)
        for first in range(filled, size, BATCH):
            store.do(fill, first, min(BATCH, size - first), given.state_bytes)
            progress.update(task, completed=first)
        store.close()
        filled = size
        progress.update(task, description=f"measuring {size:,}")
        began = time.thread_time(), time.perf_counter()
        store = Store(url)
        opened = {
            "processor_ms": 1e3 * (time.thread_time() - began[0]),
            "clock_ms": 1e3 * (time.perf_counter() - began[1]),
        }
        assert store.num_npcs == size
        found[str(size)] = {"open": opened, **measure(store, size, given.calls, given.state_bytes)}
        store.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--state-bytes", type=int, default=5000)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--store", default="")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    sizes = sorted(int(text) for text in given.sizes.split(","))
    with tempfile.TemporaryDirectory(dir=".") as folder, Progress() as progress:
        task = progress.add_task("filling", total=sizes[-1])
        found = grow(given.store or f"sqlite:///{folder}/npcs.db", sizes, given, progress, task)
    table = Table("call", *(f"{size:,} NPCs" for size in sizes), title="milliseconds: processor / clock")
    for call in found[str(sizes[0])]:
        cells = (row[call] for row in found.values())
        table.add_row(call, *(f"{cell['processor_ms']:.2f} / {cell['clock_ms']:.2f}" for cell in cells))
    Console().print(table)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
