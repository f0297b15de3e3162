"""The roster: who acts, with which state, while others commit, delete and give up."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from npcmeta.archetype import begin_npc, npc_to_bytes
from npcmeta_server import catalog
from npcmeta_server.acting.policy import Frame
from npcmeta_server.catalog import Catalog
from npcmeta_server.errors import ServiceError
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.roster import AT_A_TIME, Roster
from npcmeta_server.seating import Acting
from npcmeta_server.store import CommitRequest, NpcRow, RequestKey, Store
from tests import toys
from tests.server.conftest import save

ANY = RequestKey("", "")


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("archetypes")
    save("guard", folder)
    return catalog.load(folder)


@pytest.fixture
async def house(offered: Catalog, tmp_path: Path) -> AsyncIterator[tuple[Roster, Store, OwnerThread]]:
    storage = OwnerThread("store")
    store = await storage.run(Store, f"sqlite:///{tmp_path / 'npcs.db'}")
    roster = Roster(offered, store, storage, 1 << 20)
    for name in ("amy", "bob"):
        await storage.run(create, store, offered, name)
    yield roster, store, storage
    roster.close()
    await storage.run(store.close)
    storage.close()


def create(store: Store, offered: Catalog, name: str) -> None:
    archetype, now = offered.hosted["guard"].archetype, time.time()
    state = npc_to_bytes(begin_npc(archetype, name, seed=3))
    store.create_npc(NpcRow(name, "guard", "", 3, 1, 0, now, now, "etag"), archetype.revision, state, ANY)


async def wanted(store: Store, storage: OwnerThread, offered: Catalog, npc: str) -> CommitRequest:
    archetype = offered.hosted["guard"].archetype
    state = npc_to_bytes(begin_npc(archetype, npc))
    etag = (await storage.run(store.npc, npc)).etag
    return CommitRequest(npc, etag, archetype.revision, 5, 0.1, state, (), (), False)


async def acquired(roster: Roster, *npcs: str) -> list[Acting]:
    found = await roster.acquire("guard", npcs)
    assert all(isinstance(entry, Acting) for entry in found)
    return [entry for entry in found if isinstance(entry, Acting)]


async def revisions(roster: Roster, *acting: Acting) -> list[int]:
    rows = np.array([entry.row for entry in acting])
    seen = np.zeros((len(rows), toys.OBSERVATION), np.float32)
    frame = Frame(rows, seen, np.ones((len(rows), 5), bool), np.zeros((len(rows), 7), np.float32))
    return (await roster.act("guard", frame)).revisions.tolist()


def users(roster: Roster) -> int:
    """Rows that somebody holds."""
    return int(roster._troupe.ensembles["guard"].bank._users.sum())


async def test_a_commit_is_what_acts_from_then_on(house: tuple[Roster, Store, OwnerThread], offered: Catalog) -> None:
    roster, *kept = house
    amy, bob = await acquired(roster, "amy", "bob")
    state = begin_npc(offered.hosted["guard"].archetype, "bob").state
    await roster.commit(await wanted(*kept, offered, "bob"), ANY, state)
    assert await revisions(roster, amy, bob) == [1, 2]
    assert (bob.seed, (await acquired(roster, "bob"))[0]) == (3, bob)


async def test_loading_and_committing_at_the_same_time_never_leaves_an_old_state_acting(
    house: tuple[Roster, Store, OwnerThread], offered: Catalog
) -> None:
    roster, *kept = house
    state = begin_npc(offered.hosted["guard"].archetype, "bob").state
    for number in range(1, 30):
        commit = asyncio.create_task(roster.commit(await wanted(*kept, offered, "bob"), ANY, state))
        loads = [asyncio.create_task(acquired(roster, "bob")) for _ in range(3)]
        await commit
        for load in loads:
            assert await revisions(roster, *(await load)) == [number + 1]


async def test_rolling_back_while_others_load_lets_nobody_act_with_what_was_left(
    house: tuple[Roster, Store, OwnerThread], offered: Catalog
) -> None:
    roster, *kept = house
    state = begin_npc(offered.hosted["guard"].archetype, "bob").state
    await roster.commit(await wanted(*kept, offered, "bob"), ANY, state)
    for number in (1, 2) * 10:
        change = asyncio.create_task(roster.roll_back("bob", number, "", ANY))
        load = asyncio.create_task(acquired(roster, "bob"))
        assert (await change).revision == number
        assert await revisions(roster, *(await load)) == [number]


async def test_a_revision_that_cannot_act_here_is_not_rolled_back_to(
    house: tuple[Roster, Store, OwnerThread], offered: Catalog
) -> None:
    roster, store, storage = house
    old = (await wanted(store, storage, offered, "bob"))._replace(archetype_revision="f" * 64)
    await storage.run(store.commit, old, ANY)
    await roster.roll_back("bob", 1, "", ANY)
    with pytest.raises(ServiceError, match="which is not loaded here") as caught:
        await roster.roll_back("bob", 2, "", ANY)
    assert caught.value.reason == "REVISION_UNAVAILABLE"
    assert (await storage.run(store.npc, "bob")).revision == 1
    assert await revisions(roster, *(await acquired(roster, "bob"))) == [1]


async def test_who_gives_up_while_waiting_leaks_no_row(house: tuple[Roster, Store, OwnerThread]) -> None:
    roster, _, _ = house
    for ticks in range(8):
        task = asyncio.create_task(roster.acquire("guard", ["amy", "bob"] * AT_A_TIME))
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    kept = await acquired(roster, "amy")
    deadline = time.monotonic() + 5
    while users(roster) != 1 and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert users(roster) == 1
    roster.release("guard", kept)
    assert await revisions(roster, *(await acquired(roster, "bob"))) == [1]
    assert users(roster) == 1


async def test_who_was_deleted_acts_no_more_and_cannot_be_acquired(house: tuple[Roster, Store, OwnerThread]) -> None:
    roster, _, _ = house
    amy, bob = await acquired(roster, "amy", "bob")
    await roster.delete("bob", "")
    assert await revisions(roster, amy, bob) == [1, 0]
    [error] = await roster.acquire("guard", ["bob"])
    assert isinstance(error, ServiceError)
    assert error.reason == "NPC_NOT_FOUND"


async def test_deleting_while_somebody_loads_leaves_no_row_and_nobody_acting(
    house: tuple[Roster, Store, OwnerThread], offered: Catalog
) -> None:
    roster, store, storage = house
    for turns in range(10):
        loading = asyncio.create_task(roster.acquire("guard", ["bob", "amy"]))
        for _ in range(turns):
            await asyncio.sleep(0)
        await roster.delete("bob", "")
        bob, amy = await loading
        assert isinstance(amy, Acting)
        if isinstance(bob, Acting):
            assert await revisions(roster, bob, amy) == [0, 1]
        else:
            assert bob.reason == "NPC_NOT_FOUND"
        roster.release("guard", [bob, amy])
        await storage.run(create, store, offered, "bob")
        [reborn] = await acquired(roster, "bob")
        assert await revisions(roster, reborn) == [1]
        roster.release("guard", [reborn])
    assert await roster._troupe.thread.run(users, roster) == 0


async def test_who_gives_up_on_a_delete_has_deleted(house: tuple[Roster, Store, OwnerThread]) -> None:
    roster, store, storage = house
    [bob] = await acquired(roster, "bob")
    deleting = asyncio.create_task(roster.delete("bob", ""))
    await asyncio.sleep(0)
    deleting.cancel()
    await asyncio.gather(deleting, return_exceptions=True)
    [error] = await roster.acquire("guard", ["bob"])  # takes its turn behind the delete
    assert isinstance(error, ServiceError)
    assert await revisions(roster, bob) == [0]
    assert await storage.run(store.states, ["bob"]) == {}


async def test_a_store_that_fails_in_the_middle_of_a_large_cast_leaves_nobody_held(
    house: tuple[Roster, Store, OwnerThread], monkeypatch: pytest.MonkeyPatch
) -> None:
    roster, store, _ = house

    def fail(npcs: list[str]) -> None:
        raise ServiceError("STORE_UNAVAILABLE", "the store failed")

    await acquired(roster, "amy")
    monkeypatch.setattr(store, "states", fail)
    for first in ("amy", "bob"):
        with pytest.raises(ServiceError, match="the store failed"):
            await roster.acquire("guard", [first] * AT_A_TIME + ["bob"])
    assert await roster._troupe.thread.run(users, roster) == 1
    monkeypatch.undo()
    await acquired(roster, "bob")


async def test_a_commit_that_the_store_refuses_changes_nobody_and_frees_the_turn(
    house: tuple[Roster, Store, OwnerThread], offered: Catalog
) -> None:
    roster, *kept = house
    [bob] = await acquired(roster, "bob")
    state = begin_npc(offered.hosted["guard"].archetype, "bob").state
    stale = (await wanted(*kept, offered, "bob"))._replace(expected_etag="stale")
    commits = [roster.commit(stale, ANY, state), roster.commit(stale._replace(npc="nobody"), ANY, state)]
    ends = await asyncio.gather(*commits, roster.delete("nobody", ""), return_exceptions=True)
    reasons = [end.reason for end in ends if isinstance(end, ServiceError)]
    assert reasons == ["ETAG_MISMATCH", "NPC_NOT_FOUND", "NPC_NOT_FOUND"]
    assert await revisions(roster, bob) == [1]


async def test_a_state_of_another_archetype_revision_is_refused_with_what_to_do(
    house: tuple[Roster, Store, OwnerThread], offered: Catalog
) -> None:
    roster, store, storage = house
    old = (await wanted(store, storage, offered, "bob"))._replace(archetype_revision="f" * 64)
    await storage.run(store.commit, old, ANY)
    amy, error = await roster.acquire("guard", ["amy", "bob"])
    assert isinstance(amy, Acting)
    assert isinstance(error, ServiceError)
    assert error.reason == "REVISION_UNAVAILABLE"
    assert "adapt it again" in error.message


async def test_an_unknown_archetype_names_those_that_are_offered(house: tuple[Roster, Store, OwnerThread]) -> None:
    with pytest.raises(ServiceError, match="offered are: guard"):
        await house[0].acquire("knight", ["bob"])
