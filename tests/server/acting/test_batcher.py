"""The batcher: joins what waits, gives everybody their own answer, and survives whoever leaves."""

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from npcmeta_server.acting import batcher as batching
from npcmeta_server.acting.batcher import Batcher
from npcmeta_server.acting.policy import Decisions, Frame
from npcmeta_server.owner_thread import OwnerThread


class EchoPolicy:
    """Decides what it sees, and knows who asked for it."""

    name = "echo"

    def __init__(self) -> None:
        self.runs: list[int] = []
        self.threads: list[str] = []
        self.fails = False

    def act(self, frames: Sequence[Frame]) -> list[Decisions]:
        self.runs.append(len(frames))
        self.threads.append(threading.current_thread().name)
        if self.fails:
            raise RuntimeError("no more")
        return [Decisions(frame.observations, np.zeros((len(frame.rows), 0)), frame.rows) for frame in frames]


def frame(*values: float) -> Frame:
    column = np.array(values, np.float32)[:, None]
    return Frame(np.arange(len(values)), column, np.ones((len(values), 0), bool), column)


async def test_frames_that_wait_are_joined_and_answered_each() -> None:
    policy, thread = EchoPolicy(), OwnerThread("acting")
    batcher = Batcher(policy, thread)  # type: ignore[arg-type]
    answers = await asyncio.gather(*(batcher.act(frame(i, i + 0.5)) for i in range(6)))
    assert [answer.continuous[:, 0].tolist() for answer in answers] == [[i, i + 0.5] for i in range(6)]
    assert sum(policy.runs) == 6
    assert len(policy.runs) < 6
    thread.close()


async def test_a_short_frame_that_is_alone_is_decided_at_once_and_a_long_one_on_the_thread() -> None:
    policy, thread = EchoPolicy(), OwnerThread("acting")
    batcher = Batcher(policy, thread)  # type: ignore[arg-type]
    here = threading.current_thread().name
    await batcher.act(frame(0.0), alone=True)  # nobody knows yet how long a run takes
    assert (await batcher.act(frame(1.0), alone=True)).continuous.tolist() == [[1.0]]
    batcher._seconds_per_row = batching.ALONE_SECONDS
    await batcher.act(frame(2.0, 3.0), alone=True)
    assert [name == here for name in policy.threads] == [False, True, False]
    thread.close()


async def test_an_error_reaches_everybody_who_waits_and_nobody_afterwards() -> None:
    policy, thread = EchoPolicy(), OwnerThread("acting")
    batcher = Batcher(policy, thread)  # type: ignore[arg-type]
    policy.fails = True
    failed = await asyncio.gather(*(batcher.act(frame(i)) for i in range(3)), return_exceptions=True)
    assert all(isinstance(error, RuntimeError) for error in failed)
    policy.fails = False
    assert (await batcher.act(frame(7.0))).continuous.tolist() == [[7.0]]
    thread.close()


async def test_who_gives_up_hurts_nobody() -> None:
    policy, thread = EchoPolicy(), OwnerThread("acting")
    batcher = Batcher(policy, thread)  # type: ignore[arg-type]
    tasks = [asyncio.create_task(batcher.act(frame(i))) for i in range(5)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[3].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [True, False, False, True, False]
    assert [answers[i].continuous[0, 0] for i in (1, 2, 4)] == [1, 2, 4]  # type: ignore[union-attr]
    alone = asyncio.create_task(batcher.act(frame(1.0)))
    await asyncio.sleep(0)
    alone.cancel()
    assert (await batcher.act(frame(2.0))).continuous.tolist() == [[2.0]]
    thread.close()


async def test_who_gives_up_during_a_run_hurts_nobody_in_it_and_later_frames_wait_for_its_end() -> None:
    policy, thread, gate = EchoPolicy(), OwnerThread("acting"), threading.Event()
    batcher = Batcher(policy, thread)  # type: ignore[arg-type]
    thread.post(gate.wait)
    tasks = [asyncio.create_task(batcher.act(frame(i))) for i in range(3)]
    await asyncio.sleep(0.01)
    later = asyncio.create_task(batcher.act(frame(9.0)))
    tasks[1].cancel()
    await asyncio.sleep(0)
    gate.set()
    answers = await asyncio.gather(*tasks, later, return_exceptions=True)
    assert isinstance(answers[1], asyncio.CancelledError)
    assert [answers[i].continuous[0, 0] for i in (0, 2, 3)] == [0, 2, 9]  # type: ignore[union-attr]
    assert policy.runs == [3, 1]
    thread.close()


async def test_a_run_has_a_bound_but_for_a_single_frame_that_is_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MAX_ROWS", 4)
    policy, thread = EchoPolicy(), OwnerThread("acting")
    batcher = Batcher(policy, thread)  # type: ignore[arg-type]
    answers = await asyncio.gather(*(batcher.act(frame(*range(count))) for count in (3, 1, 2, 9, 4)))
    assert [len(answer.revisions) for answer in answers] == [3, 1, 2, 9, 4]
    assert policy.runs == [2, 1, 1, 1]
    thread.close()


async def test_short_runs_are_made_at_once_when_the_thread_has_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "AT_ONCE_SECONDS", 10.0)
    policy, thread, gate = EchoPolicy(), OwnerThread("acting"), threading.Event()
    batcher = Batcher(policy, thread)  # type: ignore[arg-type]
    await batcher.act(frame(1))  # how long a run takes is not known yet
    await batcher.act(frame(2))
    thread.post(gate.wait)
    waiting = asyncio.create_task(batcher.act(frame(3)))
    await asyncio.sleep(0.01)
    gate.set()
    assert (await waiting).continuous.tolist() == [[3.0]]
    here = threading.current_thread().name
    assert [name == here for name in policy.threads] == [False, True, False]
    monkeypatch.setattr(batching, "AT_ONCE_SECONDS", 0.0)
    await batcher.act(frame(4))
    assert policy.threads[-1].startswith("acting")
    thread.close()
