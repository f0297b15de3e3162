"""The adaptation process dies, hangs up, or is closed at any moment: every job ends, with an answer or an error."""

import asyncio
import logging
import os
import random
import signal
import threading
import time
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection

import pytest

from npcmeta.archetype import Archetype, npc_from_bytes
from npcmeta_server.adapting import worker
from npcmeta_server.adapting.jobs import Adapted, AdaptJob, Answer, Failed
from npcmeta_server.adapting.process import AdaptationProcess
from npcmeta_server.adapting.worker import Numbered
from npcmeta_server.errors import ServiceError
from tests.server.adapting.test_worker import clip, run
from tests.server.adapting.test_worker import jobs as jobs_of
from tests.server.conftest import save


@pytest.fixture(scope="module")
def scout(tmp_path_factory: pytest.TempPathFactory) -> tuple[Archetype, bytes]:
    folder = tmp_path_factory.mktemp("archetypes")
    return save("scout", folder), (folder / "scout.safetensors").read_bytes()


@pytest.fixture
async def process(scout: tuple[Archetype, bytes]) -> AsyncIterator[AdaptationProcess]:
    made = AdaptationProcess({"scout": scout[1]})
    yield made
    made.close()


def job(rows: int = 20, seed: int = 1) -> AdaptJob:
    return AdaptJob("scout", f"npc-{seed}", seed, clip(rows, seed))


async def test_a_process_killed_at_any_moment_loses_its_jobs_and_mixes_up_none(
    process: AdaptationProcess, scout: tuple[Archetype, bytes]
) -> None:
    alone = {seed: (await process.adapt(job(5 + seed, seed))).data for seed in range(6)}
    chance, failed = random.Random(0), 0
    for _ in range(3):
        tasks = [asyncio.create_task(process.adapt(job(5 + seed, seed))) for seed in range(6)]
        await asyncio.sleep(chance.uniform(0, 0.02))
        if process.pid is not None:
            os.kill(process.pid, signal.SIGKILL)
        for seed, end in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
            if isinstance(end, Adapted):
                npc, expected = (npc_from_bytes(data, scout[0], source="npc") for data in (end.data, alone[seed]))
                assert (npc.name, npc.seed, npc.examples) == (expected.name, expected.seed, expected.examples)
            else:
                assert isinstance(end, ServiceError)
                assert end.reason == "ADAPTATION_FAILED"
                failed += 1
    assert failed


async def test_the_event_loop_goes_on_while_a_new_process_starts(scout: tuple[Archetype, bytes]) -> None:
    files = {f"scout-{i}": scout[1] for i in range(200)} | {"scout": scout[1]}  # more than a pipe holds
    process = AdaptationProcess(files)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    while process.pid is not None:
        await asyncio.sleep(0.01)
    adapted = asyncio.create_task(process.adapt(job()))
    longest, before = 0.0, time.perf_counter()
    while not adapted.done():
        await asyncio.sleep(0.002)
        longest, before = max(longest, time.perf_counter() - before), time.perf_counter()
    assert (await adapted).examples == 20
    assert longest < 0.5
    process.close()


async def test_jobs_that_nobody_waits_for_any_more_are_not_sent(
    process: AdaptationProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await process.adapt(job())
    gate, sent = threading.Event(), []
    send = Connection.send
    monkeypatch.setattr(Connection, "send", lambda self, what: (sent.append(what[0]), send(self, what)))
    waits = asyncio.create_task(process._writer.run(gate.wait))
    await asyncio.sleep(0)
    tasks = [asyncio.create_task(process.adapt(job())) for _ in range(5)]
    await asyncio.sleep(0.01)
    for task in tasks[1:]:
        task.cancel()
    await asyncio.gather(*tasks[1:], return_exceptions=True)
    gate.set()
    await waits
    assert (await tasks[0]).examples == 20
    assert len(sent) == 1
    assert process._pending == {}


async def test_what_cannot_be_read_ends_the_process_and_the_next_one_works(
    process: AdaptationProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await process.adapt(job())
    receive, garbage = Connection.recv, []

    def recv(self: Connection) -> object:
        answer = receive(self)
        if not garbage:
            garbage.append(answer)
            raise AttributeError("no such class")
        return answer

    first = process.pid
    monkeypatch.setattr(Connection, "recv", recv)
    with caplog.at_level(logging.CRITICAL, "npcmeta_server.adapting.process"), pytest.raises(ServiceError) as caught:
        await process.adapt(job())
    assert caught.value.reason == "ADAPTATION_FAILED"
    while process.pid is not None:
        await asyncio.sleep(0.01)
    assert (await process.adapt(job())).examples == 20
    assert process.pid != first


async def test_a_closed_process_fails_what_is_asked_of_it(scout: tuple[Archetype, bytes]) -> None:
    process = AdaptationProcess({"scout": scout[1]})
    under_way = asyncio.create_task(process.adapt(job()))
    await asyncio.sleep(0.01)
    process.close()
    later = asyncio.create_task(process.adapt(job()))
    for asked, reason in ((under_way, "ADAPTATION_FAILED"), (later, "SHUTTING_DOWN")):
        with pytest.raises(ServiceError) as caught:
            await asyncio.wait_for(asked, 5)
        assert caught.value.reason == reason


async def test_a_process_that_starts_while_it_is_closed_is_ended_too(scout: tuple[Archetype, bytes]) -> None:
    process = AdaptationProcess({"scout": scout[1]})
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    while process.pid is not None:
        await asyncio.sleep(0.01)
    starting = asyncio.create_task(process.adapt(job()))
    await asyncio.sleep(0)
    process.close()
    with pytest.raises(ServiceError, match="stopping"):
        await starting
    while process.pid is not None:
        await asyncio.sleep(0.01)


def test_one_bad_job_of_a_batch_fails_alone(
    scout: tuple[Archetype, bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    batch = jobs_of(5, 6, 7)
    broken = batch[1].job.clip._replace(observations=batch[1].job.clip.observations[:, :2])  # type: ignore[union-attr]
    batch[1] = Numbered(1, batch[1].job._replace(clip=broken))  # type: ignore[arg-type]
    told: dict[int, Answer] = {}
    with caplog.at_level(logging.CRITICAL, "npcmeta_server.adapting.worker"):
        worker._answer({"scout": scout[0]}, {}, batch, told.__setitem__)
    assert [type(told[number]) for number in range(3)] == [Adapted, Failed, Adapted]
    assert told[0].data == run(scout[0], [batch[0]])[0][-1].data  # type: ignore[union-attr]
