"""Adaptation processes stand back behind frames, as far as they are told to."""

import os

import pytest

from npcmeta.archetype import Archetype
from npcmeta_server.adapting.pool import AdaptationPool
from npcmeta_server.adapting.priority import Priority
from tests.server.adapting.test_pool import job, scout

__all__ = ["scout"]


@pytest.mark.parametrize("priority", ["idle", "low"])
async def test_adaptation_takes_idle_time_or_a_smaller_share(
    scout: tuple[Archetype, bytes], priority: Priority
) -> None:
    pool = AdaptationPool({"scout": scout[1]}, priority=priority)
    try:
        await pool.adapt(job())
        (pid,) = pool.pids
        idle = hasattr(os, "SCHED_IDLE") and os.sched_getscheduler(pid) == os.SCHED_IDLE
        nicer = os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, os.getpid())
        if priority == "idle" and hasattr(os, "SCHED_IDLE"):
            assert (idle, nicer) == (True, False)
        else:
            assert (idle, nicer) == (False, True)
    finally:
        pool.close()
