"""kill -9 at any moment: what was acknowledged is there, and nothing is half there."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

from npcmeta_server.store import RequestKey, Store
from tests.server.store import committing
from tests.server.store.conftest import ask
from tests.server.store.rows import ANY, STATE, npc_row
from tests.server.store.test_store_faults import environment

ROUNDS = 12


def test_a_store_killed_while_it_commits_has_everything_that_it_acknowledged(url: str) -> None:
    chance = random.Random(0)
    with contextlib.closing(Store(url)) as store:
        store.create_npc(npc_row("bob"), "abc", STATE, ANY)
    acknowledged = 0
    with subprocess.Popen(
        [sys.executable, committing.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment(),
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(ROUNDS):
            print(url, file=process.stdin, flush=True)
            victim = int(process.stdout.readline())
            acknowledged = max(acknowledged, int(process.stdout.readline()))  # it has begun
            time.sleep(chance.uniform(0, 0.05))
            os.kill(victim, signal.SIGKILL)
            for line in iter(process.stdout.readline, "dead\n"):
                acknowledged = int(line)
            wait_until_alone(url)
            acknowledged = check(url, acknowledged)
        process.stdin.close()
    assert acknowledged >= ROUNDS


def wait_until_alone(url: str) -> None:
    """PostgreSQL may finish what a dead client sent last."""
    others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    while url.startswith("postgresql") and ask(url, others) != [(0,)]:
        time.sleep(0.01)


def check(url: str, acknowledged: int) -> int:
    """How many commits there are: all that were acknowledged, and at most one more; each is whole."""
    with contextlib.closing(Store(url)) as store:
        npc, revision, state = store.state("bob")
        count = npc.examples
        assert count in (acknowledged, acknowledged + 1)
        assert (npc.revision, revision.examples, state) == (count + 1, count, b"%d" % count + committing.PADDING)
        assert [row.number for row in store.revisions("bob", 1 << 40, 1 << 40)] == list(range(count + 1, 0, -1))
        assert store.support("bob") == [b"%d" % number + committing.PADDING for number in range(1, count + 1)]
        assert store.committed("bob", RequestKey(f"Adapt:{count}", "1")) is not None
        assert store.committed("bob", RequestKey(f"Adapt:{count + 1}", "1")) is None
    return count
