"""A thread that owns something: calls in order, to the end, and no fault of theirs goes unheard."""

import asyncio
import logging
import threading
import time

import pytest

from npcmeta_server.owner_thread import OwnerThread


async def test_calls_run_one_after_another_off_the_event_loop_and_what_has_begun_is_carried_out() -> None:
    thread, done = OwnerThread("it"), []

    def work(number: int) -> str:
        time.sleep(0.01)
        done.append(number)
        return threading.current_thread().name

    tasks = [asyncio.create_task(thread.run(work, number)) for number in range(5)]
    await asyncio.sleep(0)
    thread.post(work, 5)
    for number in (0, 3):  # the first has begun, the other has not
        tasks[number].cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(end, asyncio.CancelledError) for end in ends] == [True, False, False, True, False]
    assert ends[1].startswith("it")  # type: ignore[union-attr]
    thread.close()
    assert done == [0, 1, 2, 4, 5]


async def test_a_fault_of_a_call_is_raised_where_somebody_waits_and_logged_where_nobody_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    thread = OwnerThread("it")
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0)
    assert not caplog.records
    with caplog.at_level(logging.ERROR):
        thread.post(lambda: 1 // 0)
        thread.close()
    assert "ZeroDivisionError" in caplog.text


async def test_idle_is_a_thread_that_has_nothing_waiting_or_under_way() -> None:
    thread, gate = OwnerThread("it"), threading.Event()
    assert thread.idle
    running, waiting = asyncio.create_task(thread.run(gate.wait)), asyncio.create_task(thread.run(gate.wait))
    await asyncio.sleep(0)
    waiting.cancel()  # which leaves the one that runs
    await asyncio.gather(waiting, return_exceptions=True)
    assert not thread.idle
    gate.set()
    await running
    thread.close()
    assert thread.idle


async def test_a_brief_call_is_made_at_once_unless_it_would_overtake_another() -> None:
    thread, gate, done = OwnerThread("it"), threading.Event(), []

    def work(name: str) -> str:
        done.append(name)
        return threading.current_thread().name

    assert await thread.brief(work, "first") == threading.current_thread().name
    running = asyncio.create_task(thread.run(lambda: (gate.wait(), work("second"))))
    await asyncio.sleep(0)
    overtaking = asyncio.create_task(thread.brief(work, "third"))
    await asyncio.sleep(0)
    assert done == ["first"]
    gate.set()
    assert (await overtaking).startswith("it")
    await running
    thread.close()
    assert done == ["first", "second", "third"]
