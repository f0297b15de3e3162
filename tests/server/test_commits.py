"""Commits that wait together go to disk together, and each has its own end."""

import asyncio

import pytest
from sqlalchemy import event

from npcmeta.archetype import begin_npc
from npcmeta_server.catalog import Catalog
from npcmeta_server.commits import AT_ONCE
from npcmeta_server.errors import ServiceError
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.roster import Roster
from npcmeta_server.store import Committed, RequestKey, Store
from tests.server.test_roster import ANY, acquired, create, house, offered, revisions, wanted

__all__ = ["house", "offered"]
House = tuple[Roster, Store, OwnerThread]
CROWD = AT_ONCE + 16


async def crowd(house: House, offered: Catalog) -> list[str]:
    """NPCs beside those of the house."""
    names = [f"npc-{i}" for i in range(CROWD)]
    for name in names:
        await house[2].run(create, house[1], offered, name)
    return names


async def test_a_crowd_of_commits_waits_for_the_disk_a_few_times_and_acts(house: House, offered: Catalog) -> None:
    roster, store, storage = house
    names, writes = await crowd(house, offered), list[object]()
    requests = [await wanted(store, storage, offered, name) for name in names]
    seated = await acquired(roster, *names)
    event.listen(store._engine, "commit", writes.append)
    state = begin_npc(offered.hosted["guard"].archetype, "bob").state
    done = await asyncio.gather(*(roster.commit(request, ANY, state) for request in requests))
    assert [(end.revision.npc, end.revision.number) for end in done] == [(name, 2) for name in names]
    assert len(writes) <= 4
    assert await revisions(roster, *seated) == [2] * CROWD
    assert {(await storage.run(store.npc, name)).revision for name in names} == {2}


async def test_bad_ones_in_a_crowd_fail_alone_and_leave_nothing(house: House, offered: Catalog) -> None:
    roster, store, storage = house
    names = (await crowd(house, offered))[:9]
    requests = [await wanted(store, storage, offered, name) for name in names]
    requests[1] = requests[1]._replace(expected_etag="stale")
    requests[4] = requests[4]._replace(npc="nobody")
    requests[7] = requests[7]._replace(clips=((b"clip", 1),), demonstrations=(("amy", "no-such-clip"),))
    state = begin_npc(offered.hosted["guard"].archetype, "bob").state
    done = await asyncio.gather(*(roster.commit(each, ANY, state) for each in requests), return_exceptions=True)
    reasons = {at: end.reason for at, end in enumerate(done) if isinstance(end, ServiceError)}
    assert reasons == {1: "ETAG_MISMATCH", 4: "NPC_NOT_FOUND", 7: "DEMONSTRATION_NOT_FOUND"}
    numbers = [(await storage.run(store.npc, name)).revision for name in names]
    assert numbers == [1 if at in reasons else 2 for at in range(9)]
    assert await storage.run(store.demonstrations, names[7], "", 9) == []


async def test_one_that_the_disk_has_no_room_for_does_not_take_the_others_along(house: House, offered: Catalog) -> None:
    roster, store, storage = house
    names = (await crowd(house, offered))[:9]
    requests = [await wanted(store, storage, offered, name) for name in names]
    requests[4] = requests[4]._replace(clips=((bytes(4_000_000), 1),))
    await storage.run(limit_pages, store, 200)
    state = begin_npc(offered.hosted["guard"].archetype, "bob").state
    done = await asyncio.gather(*(roster.commit(each, ANY, state) for each in requests), return_exceptions=True)
    assert [isinstance(end, Committed) for end in done] == [at != 4 for at in range(9)]
    assert isinstance(done[4], ServiceError)
    assert "full" in done[4].message
    assert (await storage.run(store.npc, names[4])).revision == 1
    await storage.run(limit_pages, store, 1_000_000)
    assert (await roster.commit(requests[4], ANY, state)).revision.number == 2


def limit_pages(store: Store, more: int) -> None:
    with store._engine.begin() as connection:
        pages = connection.exec_driver_sql("pragma page_count").scalar_one()
        connection.exec_driver_sql(f"pragma max_page_count = {pages + more}")


async def test_of_two_for_one_npc_the_first_counts_and_a_request_that_came_twice_counts_once(
    house: House, offered: Catalog
) -> None:
    roster, store, storage = house
    [bob] = await acquired(roster, "bob")
    state = begin_npc(offered.hosted["guard"].archetype, "bob").state
    request, once = await wanted(store, storage, offered, "bob"), RequestKey("Adapt:once", "1")
    calls = [
        roster.commit(request, once, state),
        roster.commit(request, once, state),
        roster.commit(request, ANY, state),
    ]
    first, again, late = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, Committed)
    assert first == again
    assert isinstance(late, ServiceError)
    assert late.reason == "ETAG_MISMATCH"
    assert await revisions(roster, bob) == [2]


async def test_whoever_has_gone_is_committed_with_the_others(house: House, offered: Catalog) -> None:
    roster, store, storage = house
    names = (await crowd(house, offered))[:6]
    requests = [await wanted(store, storage, offered, name) for name in names]
    state = begin_npc(offered.hosted["guard"].archetype, "bob").state
    tasks = [asyncio.create_task(roster.commit(each, ANY, state)) for each in requests]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await revisions(roster, *await acquired(roster, *names)) == [2] * 6


async def test_a_fault_is_told_to_everybody_who_waits(
    house: House, offered: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster, store, storage = house
    names = (await crowd(house, offered))[:5]
    requests = [await wanted(store, storage, offered, name) for name in names]
    state = begin_npc(offered.hosted["guard"].archetype, "bob").state
    with monkeypatch.context() as patched:
        patched.setattr(store, "commit_all", lambda commits: 1 / 0)
        calls = (roster.commit(each, ANY, state) for each in requests)
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end) for end in done] == [ZeroDivisionError] * 5
    assert (await roster.commit(requests[0], ANY, state)).revision.number == 2
