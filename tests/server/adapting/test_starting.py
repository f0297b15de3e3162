"""Adaptation processes are started and ended: none is left behind, and whoever waits for one hears of it."""

import asyncio
import os
import signal

import pytest

from npcmeta.archetype import Archetype
from npcmeta_server.adapting import process as process_module
from npcmeta_server.adapting import worker
from npcmeta_server.adapting.pool import AdaptationPool
from npcmeta_server.errors import ServiceError
from tests.server.adapting.test_pool import gone, job, kill, pool, scout

__all__ = ["pool", "scout"]


async def test_a_closed_pool_fails_what_is_asked_of_it(scout: tuple[Archetype, bytes]) -> None:
    pool = AdaptationPool({"scout": scout[1]})
    under_way = [asyncio.create_task(pool.adapt(job())) for _ in range(3 * worker.MAX_TASKS)]
    await asyncio.sleep(0.01)
    pool.close()
    later = asyncio.create_task(pool.adapt(job()))
    for asked in (*under_way, later):
        with pytest.raises(ServiceError) as caught:
            await asyncio.wait_for(asked, 5)
        assert caught.value.reason == "SHUTTING_DOWN"


async def test_a_signal_to_stop_that_the_whole_group_gets_is_left_to_the_server(
    pool: AdaptationPool, caplog: pytest.LogCaptureFixture
) -> None:
    await pool.adapt(job())
    pids = pool.pids
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGHUP)
    assert (await pool.adapt(job())).examples == 20
    assert pool.pids == pids
    pool.close()
    await gone(pool)
    assert not caplog.messages


async def test_a_process_that_cannot_be_started_leaves_none_behind(
    scout: tuple[Archetype, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    start, started = process_module.AdaptationProcess.start, []

    def start_one(process: process_module.AdaptationProcess, files: dict[str, bytes]) -> None:
        if started:
            raise OSError("no more processes")
        start(process, files)
        started.append(process)

    monkeypatch.setattr(process_module.AdaptationProcess, "start", start_one)
    with pytest.raises(OSError, match="no more"):
        AdaptationPool({"scout": scout[1]}, 2)
    while started[0].pid is not None:
        await asyncio.sleep(0.01)


async def test_a_process_that_starts_while_it_is_closed_is_ended_too(scout: tuple[Archetype, bytes]) -> None:
    pool = AdaptationPool({"scout": scout[1]})
    kill(pool)
    await gone(pool)
    starting = asyncio.create_task(pool.adapt(job()))
    await asyncio.sleep(0)
    pool.close()
    with pytest.raises(ServiceError, match="stopping"):
        await starting
    await gone(pool)
