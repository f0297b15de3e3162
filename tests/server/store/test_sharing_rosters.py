"""Two servers that act with the NPCs of one database: what one commits, the other's next cast has."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from npcmeta.archetype import begin_npc, npc_to_bytes
from npcmeta_server import catalog, reserve
from npcmeta_server.catalog import Catalog
from npcmeta_server.errors import ServiceError
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.roster import Roster
from npcmeta_server.store import Store, archetypes
from tests.server.conftest import save
from tests.server.store.postgres import Cluster
from tests.server.test_roster import ANY, acquired, create, offered, revisions, wanted

__all__ = ["offered"]
pytestmark = pytest.mark.postgres
House = tuple[Roster, Store, OwnerThread]


@contextlib.asynccontextmanager
async def house(offered: Catalog, url: str) -> AsyncIterator[House]:
    storage = OwnerThread("store")
    store = await storage.run(Store, url)
    roster = Roster(offered, store, storage, 1 << 20)
    try:
        yield roster, store, storage
    finally:
        roster.close()
        await storage.run(store.close)
        storage.close()


@pytest.fixture
async def houses(offered: Catalog, cluster: Cluster) -> AsyncIterator[tuple[House, House]]:
    url = cluster.new_database()
    async with house(offered, url) as first, house(offered, url) as second:
        for name in ("amy", "bob"):
            await first[2].run(create, first[1], offered, name)
        yield first, second


async def test_what_one_server_commits_acts_on_the_other_from_its_next_cast_on(
    houses: tuple[House, House], offered: Catalog
) -> None:
    (first, *kept), (second, *_) = houses
    amy, bob = await acquired(second, "amy", "bob")
    assert await revisions(second, amy, bob) == [1, 1]
    state = begin_npc(offered.hosted["guard"].archetype, "bob").state
    for number in (2, 3):
        await first.commit(await wanted(*kept, offered, "bob"), ANY, state)
        assert await revisions(second, *await acquired(second, "amy", "bob")) == [1, number]
    await first.roll_back("bob", 1, "", ANY)
    assert await revisions(second, *await acquired(second, "amy", "bob")) == [1, 1]
    assert (amy, bob) == tuple(await acquired(second, "amy", "bob"))  # where they were


async def test_a_commit_on_what_another_server_changed_is_refused(
    houses: tuple[House, House], offered: Catalog
) -> None:
    (first, *kept), (second, *_) = houses
    await acquired(second, "bob")
    stale = await wanted(*kept, offered, "bob")
    state = begin_npc(offered.hosted["guard"].archetype, "bob").state
    await first.commit(stale, ANY, state)
    with pytest.raises(ServiceError, match="changed meanwhile"):
        await second.commit(stale, ANY, state)


async def test_who_was_deleted_and_made_anew_elsewhere_acts_as_what_it_is_now(
    houses: tuple[House, House], offered: Catalog
) -> None:
    (first, store, storage), (second, *_) = houses
    old, _ = await acquired(second, "bob", "amy")
    await first.delete("bob", "")
    [gone] = await second.acquire("guard", ["bob"])
    assert isinstance(gone, ServiceError)
    assert gone.reason == "NPC_NOT_FOUND"
    await storage.run(create, store, offered, "bob")
    state = begin_npc(offered.hosted["guard"].archetype, "bob").state
    await first.commit(await wanted(store, storage, offered, "bob"), ANY, state)
    assert await revisions(second, *await acquired(second, "bob"), old) == [2, 0]


async def test_who_was_moved_elsewhere_acts_with_an_archetype_revision_that_is_loaded_for_it(
    houses: tuple[House, House], offered: Catalog, tmp_path: Path
) -> None:
    (first, *kept), (second, *_) = houses
    save("guard", tmp_path, seed=5)
    newer = catalog.host(tmp_path / "guard.safetensors")
    _, bob = await acquired(second, "amy", "bob")
    await first.host(newer)
    moved = begin_npc(newer.archetype, "bob", seed=3)
    commit = (await wanted(*kept, offered, "bob"))._replace(
        archetype_revision=newer.archetype.revision, state=npc_to_bytes(moved)
    )
    await first.commit(commit, ANY, moved.state)
    asked: list[str] = []

    async def fetch(archetype: str, revision: str) -> None:
        asked.append(revision)
        assert await revisions(second, bob) == [1]  # nobody waits for what is being loaded
        await second.host(newer)

    second.reserve.fetch = fetch
    assert await revisions(second, *await acquired(second, "amy", "bob")) == [1, 2]
    assert await revisions(second, bob) == [2]
    await second.reserve.know("bob")
    assert asked == [newer.archetype.revision]


async def test_what_another_made_current_and_cannot_be_loaded_is_tried_again_only_after_a_while(
    houses: tuple[House, House], monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, store, storage), (second, *_) = houses
    await storage.run(store.do, archetypes.keep, "guard", "f" * 64, b"not a file", current=True, request=ANY)
    asked: list[str] = []

    async def adopt(archetype: str, revision: str) -> None:
        asked.append(revision)
        raise ServiceError("INVALID_ARCHETYPE", "it is none")

    async def make() -> None:
        await storage.run(store.do, archetypes.check_offered, "guard", second.repertoire.current_revision("guard"))

    second.reserve.adopt = adopt
    monkeypatch.setattr(reserve, "LOST_SECONDS", 2.0)
    for times in (1, 1, 2):
        if times == 2:
            await asyncio.sleep(reserve.LOST_SECONDS)
        with pytest.raises(ServiceError, match="which is not loaded here; try again") as caught:
            await second.reserve.with_current("guard", make)
        assert caught.value.reason == "REVISION_UNAVAILABLE"
        assert asked == ["f" * 64] * times


async def test_while_the_database_is_away_those_in_memory_are_cast_and_act(
    houses: tuple[House, House], offered: Catalog, cluster: Cluster
) -> None:
    (first, store, storage), (second, *_) = houses
    await acquired(second, "bob")
    cluster.stop()
    try:
        assert await revisions(second, *await acquired(second, "bob")) == [1]
        with pytest.raises(ServiceError, match="try again") as caught:
            await second.acquire("guard", ["bob", "amy"])
        assert caught.value.reason == "STORE_UNAVAILABLE"
    finally:
        cluster.start()
    state = begin_npc(offered.hosted["guard"].archetype, "bob").state
    await first.commit(await wanted(store, storage, offered, "bob"), ANY, state)
    assert await revisions(second, *await acquired(second, "bob", "amy")) == [2, 1]
