"""Archetype revisions that come while adaptation processes run are there for every job behind them."""

import asyncio

import pytest

from npcmeta.archetype import Archetype
from npcmeta_server.adapting.jobs import Adapted
from npcmeta_server.adapting.pool import AdaptationPool
from npcmeta_server.errors import ServiceError
from tests.server.adapting.test_pool import gone, job, kill, pool, scout

__all__ = ["pool", "scout"]


async def test_a_revision_that_is_loaded_later_is_there_for_jobs_and_for_processes_to_come(
    pool: AdaptationPool, scout: tuple[Archetype, bytes]
) -> None:
    pool.load("later", scout[1])
    expected = await pool.adapt(job())
    later = job()._replace(archetype="later")
    assert (await pool.adapt(later)).support_nll == pytest.approx(expected.support_nll, abs=1e-6)
    kill(pool)
    await gone(pool)
    starting = asyncio.create_task(pool.adapt(later))
    await asyncio.sleep(0)
    pool.load("meanwhile", scout[1])  # the process that starts has not been given it
    assert (await pool.adapt(job()._replace(archetype="meanwhile"))).examples == (await starting).examples == 20


async def test_a_job_of_a_revision_that_was_unloaded_fails_and_no_process_dies_of_it(
    pool: AdaptationPool, scout: tuple[Archetype, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    pool.load("later", scout[1])
    pool.unload("scout")
    kill(pool)
    await gone(pool)
    caplog.clear()
    late, other = await asyncio.gather(
        pool.adapt(job()), pool.adapt(job()._replace(archetype="later")), return_exceptions=True
    )
    assert isinstance(late, ServiceError)
    assert late.reason == "ARCHETYPE_NOT_FOUND"
    assert isinstance(other, Adapted)
    assert not caplog.messages
