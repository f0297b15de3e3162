"""Adaptation processes die, hang, fall silent or are closed at any moment: no job is lost or left open."""

import asyncio
import logging
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection

import numpy as np
import pytest

from npcmeta.archetype import Archetype
from npcmeta_export.runtime import load_session
from npcmeta_server.adapting import orders, worker
from npcmeta_server.adapting import process as process_module
from npcmeta_server.adapting.jobs import Adapted, AdaptJob, ExportJob, Failed, Numbered, Order, Progressed
from npcmeta_server.adapting.pool import AdaptationPool
from npcmeta_server.errors import ServiceError
from npcmeta_server.limits import MAX_EXAMPLES
from tests.server.adapting.test_worker import Told, clip, run
from tests.server.adapting.test_worker import jobs as jobs_of
from tests.server.conftest import save


@pytest.fixture(scope="module")
def scout(tmp_path_factory: pytest.TempPathFactory) -> tuple[Archetype, bytes]:
    folder = tmp_path_factory.mktemp("archetypes")
    return save("scout", folder), (folder / "scout.safetensors").read_bytes()


@pytest.fixture
async def pool(scout: tuple[Archetype, bytes]) -> AsyncIterator[AdaptationPool]:
    made = AdaptationPool({"scout": scout[1]})
    yield made
    made.close()


def job(rows: int = 20, seed: int = 1) -> AdaptJob:
    return AdaptJob("scout", f"npc-{seed}", seed, clip(rows, seed))


def long_job() -> AdaptJob:
    """Takes a process for a while."""
    few = clip(100)
    return AdaptJob("scout", "long", 1, few._make(np.resize(a, (MAX_EXAMPLES, *a.shape[1:])) for a in few))


def kill(pool: AdaptationPool) -> None:
    for pid in pool.pids:
        os.kill(pid, signal.SIGKILL)


async def gone(pool: AdaptationPool) -> None:
    while pool.pids:
        await asyncio.sleep(0.01)


async def test_jobs_outlive_a_process_that_is_killed_and_are_not_mixed_up(pool: AdaptationPool) -> None:
    alone = {seed: (await pool.adapt(job(5 + seed, seed))).data for seed in range(6)}
    chance = random.Random(0)
    for _ in range(3):
        tasks = [asyncio.create_task(pool.adapt(job(5 + seed, seed))) for seed in range(6)]
        await asyncio.sleep(chance.uniform(0, 0.02))
        killed = pool.pids
        kill(pool)
        while pool.pids == killed:  # else the next jobs go to it as well, and then two processes die over them
            await asyncio.sleep(0.001)
        ends = await asyncio.wait_for(asyncio.gather(*tasks), 60)
        assert [end.examples for end in ends] == [5 + seed for seed in range(6)]
        assert [len(end.data) for end in ends] == [len(data) for data in alone.values()]
    assert (await pool.adapt(job(5, 0))).data == alone[0]


async def test_a_job_that_processes_die_over_fails_and_takes_nobody_along(
    pool: AdaptationPool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await pool.adapt(job())
    send = orders.send

    def deadly(connection: Connection, what: Order) -> None:
        send(connection, what)
        if isinstance(what, Numbered) and what.job.npc == "npc-666":
            kill(pool)

    monkeypatch.setattr(orders, "send", deadly)
    with caplog.at_level(logging.CRITICAL, "npcmeta_server.adapting.process"):
        tasks = [asyncio.create_task(pool.adapt(job(5, seed))) for seed in (1, 666, 2, 3)]
        ends = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
    assert [type(end) for end in ends] == [Adapted, ServiceError, Adapted, Adapted]
    assert ends[1].reason == "ADAPTATION_FAILED"  # type: ignore[union-attr]


async def test_the_event_loop_goes_on_while_a_new_process_starts(scout: tuple[Archetype, bytes]) -> None:
    files = {f"scout-{i}": scout[1] for i in range(200)} | {"scout": scout[1]}  # more than a pipe holds
    pool = AdaptationPool(files)
    kill(pool)
    await gone(pool)
    adapted = asyncio.create_task(pool.adapt(job()))
    longest, before = 0.0, time.perf_counter()
    while not adapted.done():
        await asyncio.sleep(0.002)
        longest, before = max(longest, time.perf_counter() - before), time.perf_counter()
    assert (await adapted).examples == 20
    assert longest < 0.5
    pool.close()


async def test_cancelling_frees_the_queue_and_ends_an_inner_loop_that_runs(
    pool: AdaptationPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pool.adapt(job())
    began = asyncio.Event()
    under_way = asyncio.create_task(pool.adapt(long_job(), lambda step: began.set()))
    await began.wait()
    waiting = [asyncio.create_task(pool.adapt(long_job())) for _ in range(20)]
    last = asyncio.create_task(pool.adapt(job()))
    await asyncio.sleep(0)
    taken = time.perf_counter()
    for task in (under_way, *waiting):
        task.cancel()
    assert (await last).examples == 20
    assert len(pool._queue) == 0
    assert not pool._processes[0].jobs
    cancelled = time.perf_counter() - taken
    taken = time.perf_counter()
    await pool.adapt(long_job())
    assert cancelled < 5 * (time.perf_counter() - taken)  # not as long as the twenty would have taken


async def test_a_crowd_holds_up_another_client_by_no_more_than_what_is_under_way(pool: AdaptationPool) -> None:
    order: list[str] = []

    async def ask(client: str, seed: int) -> None:
        await pool.adapt(job(50, seed), client=client)
        order.append(client)

    async with asyncio.TaskGroup() as group:
        for seed in range(300):
            group.create_task(ask("crowd", seed))
        await asyncio.sleep(0)
        group.create_task(ask("designer", 1))
    assert order.index("designer") <= 2 * worker.MAX_TASKS + 1
    assert len(order) == 301


async def test_several_processes_share_the_work(scout: tuple[Archetype, bytes]) -> None:
    pool = AdaptationPool({"scout": scout[1]}, processes=2)
    try:
        assert len(pool.pids) == 2
        tasks = [asyncio.create_task(pool.adapt(job(5, seed))) for seed in range(4 * worker.MAX_TASKS)]
        await asyncio.sleep(0)
        assert all(process.jobs for process in pool._processes)
        os.kill(pool.pids[0], signal.SIGKILL)
        assert {end.examples for end in await asyncio.gather(*tasks)} == {5}
    finally:
        pool.close()


async def test_a_process_that_falls_silent_is_ended_and_its_jobs_are_done_by_the_next(
    pool: AdaptationPool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await pool.adapt(job())
    monkeypatch.setattr(process_module, "SILENT_SECONDS", 0.3)
    os.kill(pool.pids[0], signal.SIGSTOP)
    asking = asyncio.create_task(pool.adapt(job()))
    await asyncio.sleep(0)
    monkeypatch.setattr(process_module, "SILENT_SECONDS", 60)
    with caplog.at_level(logging.ERROR, "npcmeta_server.adapting.process"):
        assert (await asking).examples == 20
    assert "said nothing" in caplog.text


async def test_what_cannot_be_read_ends_the_process_and_the_next_one_works(
    pool: AdaptationPool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await pool.adapt(job())
    receive, garbage = Connection.recv, []

    def recv(self: Connection) -> object:
        answer = receive(self)
        if not garbage:
            garbage.append(answer)
            raise AttributeError("no such class")
        return answer

    [first] = pool.pids
    monkeypatch.setattr(Connection, "recv", recv)
    with caplog.at_level(logging.CRITICAL, "npcmeta_server.adapting.process"):
        assert (await pool.adapt(job())).examples == 20
    assert pool.pids != [first]


async def test_npcs_are_exported_and_what_cannot_be_is_said(pool: AdaptationPool) -> None:
    adapted = await pool.adapt(job())
    watched: list[Progressed] = []
    await pool.adapt(job(), watched.append)
    assert (watched[0].step, watched[-1].step) == (0, 5)
    model = await pool.export(ExportJob("scout", "npc-1", adapted.data))
    assert load_session(model).get_inputs()[0].name == "observation"
    with pytest.raises(ServiceError) as caught:
        await pool.export(ExportJob("scout", "npc-1", b"garbage"))
    assert caught.value.reason == "INTERNAL"


def test_one_bad_job_of_a_batch_fails_alone(scout: tuple[Archetype, bytes], caplog: pytest.LogCaptureFixture) -> None:
    batch = jobs_of(5, 6, 7)
    broken = batch[1].job.clip._replace(observations=batch[1].job.clip.observations[:, :2])  # type: ignore[union-attr]
    batch[1] = Numbered(1, batch[1].job._replace(clip=broken))  # type: ignore[arg-type]
    listener = Told()
    with caplog.at_level(logging.CRITICAL, "npcmeta_server.adapting.worker"):
        worker._answer({"scout": scout[0]}, {}, batch, listener)
    told = {number: answers[-1] for number, answers in listener.answers.items()}
    assert [type(told[number]) for number in range(3)] == [Adapted, Failed, Adapted]
    assert told[0].data == run(scout[0], [batch[0]])[0][-1].data  # type: ignore[union-attr]
