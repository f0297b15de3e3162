"""A lesson: adapts to what was shown so far, ends with all of it, and leaves nothing behind."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from npcmeta_server.adapting.jobs import Adapted, AdaptJob, Progressed
from npcmeta_server.adapting.lesson import Lesson
from npcmeta_server.adapting.queue import Watch
from npcmeta_server.clips import Clip, join
from npcmeta_server.errors import ServiceError
from npcmeta_server.limits import MAX_EXAMPLES
from tests import toys

SPEC = toys.spec("discrete")


class SlowPool:
    """Says how many examples it was given, when it may; fails as often as it is told to."""

    def __init__(self) -> None:
        self.may_go = asyncio.Event()
        self.jobs: list[int] = []
        self.failures: list[Exception] = []
        self.running = 0

    async def adapt(self, job: AdaptJob, watch: Watch, *, client: str) -> Adapted:
        assert client == "token:game"
        self.jobs.append(job.clip.examples)
        self.running += 1
        try:
            await self.may_go.wait()
        finally:
            self.running -= 1
        watch(Progressed(0, 1, job.clip.examples, 1.0))
        if self.failures:
            raise self.failures.pop()
        return Adapted(b"%d" % job.clip.examples, {}, job.clip.examples, 0.5)


def clip(rows: int) -> Clip:
    empty = join([], SPEC)
    return Clip(*(np.zeros((rows, *array.shape[1:]), array.dtype) for array in empty))


@pytest.fixture
async def pool() -> SlowPool:
    return SlowPool()


def lesson_of(pool: SlowPool, known: list[Clip], told: list[Progressed] | None = None) -> Lesson:
    hosted = SimpleNamespace(archetype=SimpleNamespace(name="scout", revision="r", spec=SPEC))
    npc = SimpleNamespace(id="bob", seed=1)
    watch = (told if told is not None else []).append
    return Lesson(pool, hosted, npc, known, watch, "token:game")  # type: ignore[arg-type]


async def test_what_comes_while_the_inner_loop_runs_is_adapted_to_together(pool: SlowPool) -> None:
    told: list[Progressed] = []
    lesson = lesson_of(pool, [clip(2)], told)
    for rows in (3, 4, 5):
        lesson.show(clip(rows))
        await asyncio.sleep(0)
    assert lesson.examples == 14
    pool.may_go.set()
    await asyncio.sleep(0.01)
    assert pool.jobs == [5, 14]
    assert (await lesson.finish())[0].examples == 14
    assert [event.examples for event in told] == [5, 14]
    assert (await lesson.finish())[0].examples == 14
    assert pool.jobs == [5, 14]


async def test_a_lesson_without_examples_gives_what_is_known(pool: SlowPool) -> None:
    pool.may_go.set()
    assert (await lesson_of(pool, []).finish())[0].examples == 0
    assert (await lesson_of(pool, [clip(3)]).finish())[0].examples == 3


async def test_what_comes_at_once_is_adapted_to_at_the_end(pool: SlowPool) -> None:
    pool.may_go.set()
    lesson = lesson_of(pool, [])
    for rows in (1, 2):
        lesson.show(clip(rows), more_at_once=True)
        await asyncio.sleep(0)
    assert pool.jobs == []
    assert (await lesson.finish())[0].examples == 3


async def test_a_failure_on_the_way_is_tried_again_and_one_at_the_end_is_told(pool: SlowPool) -> None:
    pool.may_go.set()
    pool.failures = [ServiceError("ADAPTATION_FAILED", "the process stopped")]
    lesson = lesson_of(pool, [])
    lesson.show(clip(2))
    await asyncio.sleep(0)
    assert (await lesson.finish())[0].examples == 2
    assert pool.jobs == [2, 2]
    pool.failures = [ServiceError("ADAPTATION_DIVERGED", "left the finite numbers")] * 2
    lesson.show(clip(1))
    with pytest.raises(ServiceError, match="finite numbers"):
        await lesson.finish()
    assert (await lesson.finish())[0].examples == 3


async def test_a_fault_of_ours_is_not_swallowed(pool: SlowPool) -> None:
    pool.may_go.set()
    pool.failures = [MemoryError()]
    lesson = lesson_of(pool, [])
    lesson.show(clip(2))
    with pytest.raises(MemoryError):
        await lesson.finish()


async def test_a_lesson_that_is_discarded_stops_its_job_and_needs_no_reader(pool: SlowPool) -> None:
    lesson = lesson_of(pool, [])
    await lesson.discard()
    lesson.show(clip(2))
    await asyncio.sleep(0)
    assert pool.running == 1
    await lesson.discard()
    assert pool.running == 0


async def test_more_than_an_npc_may_have_is_refused_and_what_was_shown_before_stays(pool: SlowPool) -> None:
    pool.may_go.set()
    lesson = lesson_of(pool, [clip(MAX_EXAMPLES - 1)])
    with pytest.raises(ServiceError) as caught:
        lesson.show(clip(2))
    assert caught.value.reason == "TOO_MANY"
    lesson.show(clip(1))
    assert (await lesson.finish())[0].examples == MAX_EXAMPLES


async def test_when_the_time_is_over_the_last_result_counts_with_the_clips_behind_it(pool: SlowPool) -> None:
    pool.may_go.set()
    lesson = lesson_of(pool, [clip(2)])
    lesson.show(clip(3))
    lesson.show(clip(4))
    await asyncio.sleep(0.01)
    pool.may_go.clear()
    lesson.show(clip(5))
    adapted, used = await lesson.finish(0.05)
    assert (adapted.examples, used) == (9, 2)
    await asyncio.sleep(0)
    assert pool.running == 0  # its work is freed


async def test_what_has_ended_already_takes_no_time(pool: SlowPool) -> None:
    pool.may_go.set()
    lesson = lesson_of(pool, [])
    lesson.show(clip(3))
    await asyncio.sleep(0.01)
    assert (await lesson.finish(0.0))[1] == 1


async def test_without_any_result_in_time_nothing_can_be_committed(pool: SlowPool) -> None:
    lesson = lesson_of(pool, [clip(2)])
    lesson.show(clip(3))
    with pytest.raises(ServiceError, match="on 5 examples of npcs/bob") as caught:
        await lesson.finish(0.01)
    assert caught.value.reason == "TIME_BUDGET_EXCEEDED"
    await lesson.discard()
    assert pool.running == 0
