"""The queue before the adaptation processes: equal shares, an order within each client, limits, and nobody is lost."""

import asyncio
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npcmeta_server.adapting import queue as module
from npcmeta_server.adapting.jobs import AdaptJob
from npcmeta_server.adapting.queue import Entry, Queue
from npcmeta_server.errors import ServiceError
from tests.server.adapting.test_worker import clip

EMPTY = clip(0)


def entry(client: str, examples: int = 50) -> Entry:
    weighted = EMPTY._replace(weights=np.ones(examples, np.float32))
    return Entry(AdaptJob("scout", client, 1, weighted), client, asyncio.Future())


def taken(queue: Queue) -> list[str]:
    return [queue.take().client for _ in range(len(queue))]


@pytest.fixture
async def queue() -> Queue:
    return Queue()


async def test_one_job_waits_for_no_more_than_one_of_each_other_client(queue: Queue) -> None:
    for _ in range(100):
        queue.put(entry("crowd"))
    assert [queue.take().client for _ in range(3)] == ["crowd"] * 3
    queue.put(entry("designer"))
    assert taken(queue).index("designer") <= 1


async def test_clients_share_the_time_and_not_the_jobs(queue: Queue) -> None:
    for _ in range(40):
        queue.put(entry("large", 20 * module.COST_OF_A_JOB))
        queue.put(entry("small", 0))
    first = taken(queue)[:42]
    assert 1 <= first.count("large") <= 4


async def test_who_was_away_has_no_credit(queue: Queue) -> None:
    for _ in range(50):
        queue.put(entry("steady"))
    for _ in range(40):
        queue.take()
    for _ in range(10):
        queue.put(entry("late"))
    assert sorted(taken(queue)[:8]) == ["late"] * 4 + ["steady"] * 4


async def test_what_is_forgotten_is_gone_at_once_and_counts_no_more(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ADAPTATIONS_OF_ONE", 2)
    unwanted, kept = entry("one"), entry("one")
    queue.put(unwanted)
    queue.put(kept)
    with pytest.raises(ServiceError, match="2 adaptations of this client wait") as caught:
        queue.put(entry("one"))
    assert caught.value.reason == "TOO_MANY"
    queue.put(entry("other"))
    assert queue.forget(unwanted)
    assert not queue.forget(unwanted)
    queue.put(entry("one"))
    assert kept in [queue.take() for _ in range(2)]
    assert taken(queue) == ["one"]
    assert queue.first() is None


async def test_nothing_is_kept_of_what_is_forgotten_while_others_wait(queue: Queue) -> None:
    steady = entry("steady")
    queue.put(steady)
    for _ in range(1_000):
        unwanted = entry("hasty")
        queue.put(unwanted)
        assert queue.forget(unwanted)
        gone = weakref.ref(unwanted)
        del unwanted
        assert gone() is None  # and with it its examples
    assert len(queue._heap) < 200
    assert queue.take() is steady


async def test_all_clients_together_have_a_limit(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ADAPTATIONS", 3)
    for client in "abc":
        queue.put(entry(client))
    with pytest.raises(ServiceError, match="3 adaptations wait"):
        queue.put(entry("d"))


async def test_clients_that_came_once_leave_nothing_behind(queue: Queue) -> None:
    for steady in (0, 1):
        for _ in range(steady):
            queue.put(entry("steady"))
        for number in range(2_000):
            queue.put(entry(f"client {number}"))
            if steady:
                queue.put(entry("steady"))
                queue.take()
            queue.take()
        assert len(queue._ends) < 300


STEPS = st.lists(st.tuples(st.sampled_from(["put", "take", "forget"]), st.integers(0, 3), st.integers(0, 5_000)))


@settings(deadline=None)
@given(STEPS)
def test_whatever_happens_everybody_is_taken_or_forgotten_once_in_the_order_of_his_client(
    steps: list[tuple[str, int, int]],
) -> None:
    loop = asyncio.new_event_loop()
    queue, waiting, seen = Queue(), [], []
    for what, client, examples in steps:
        if what == "put":
            weighted = EMPTY._replace(weights=np.ones(examples, np.float32))
            job = AdaptJob("scout", "x", 1, weighted)
            waiting.append(Entry(job, str(client), loop.create_future()))
            queue.put(waiting[-1])
        elif what == "take" and waiting:
            first = queue.first()
            assert queue.take() is first
            seen.append(first)
            assert first is next(each for each in waiting if each.client == first.client)
            waiting.remove(first)
        elif what == "forget" and waiting:
            assert queue.forget(waiting.pop(client % len(waiting)))
        assert len(queue) == len(waiting)
    assert len(set(map(id, seen))) == len(seen)
    loop.close()
