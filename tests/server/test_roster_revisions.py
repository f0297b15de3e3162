"""The roster with several revisions of an archetype: who acts with which, and what is fetched for whom."""

import asyncio
from pathlib import Path

from npcmeta.archetype import begin_npc, npc_to_bytes
from npcmeta_server import catalog
from npcmeta_server.catalog import Catalog
from npcmeta_server.errors import ServiceError
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.roster import Roster
from npcmeta_server.seating import Acting
from npcmeta_server.store import Store
from tests.server.conftest import save
from tests.server.test_roster import ANY, acquired, create, offered, revisions, users, wanted

__all__ = ["offered"]


async def test_npcs_of_an_older_revision_act_beside_new_ones_until_a_commit_moves_them(
    tmp_path: Path, offered: Catalog
) -> None:
    (tmp_path / "new").mkdir()
    save("guard", tmp_path / "new", seed=5)
    old, newer = offered.hosted["guard"], catalog.host(tmp_path / "new" / "guard.safetensors")
    storage = OwnerThread("store")
    store = await storage.run(Store, f"sqlite:///{tmp_path / 'npcs.db'}")
    await storage.run(create, store, offered, "amy")
    roster = Roster(Catalog({"guard": newer}, ()), store, storage, 1 << 20)
    [refused] = await roster.acquire("guard", ["amy"])
    assert isinstance(refused, ServiceError)
    assert refused.reason == "REVISION_UNAVAILABLE"
    asked: list[tuple[str, str]] = []

    async def fetch(archetype: str, revision: str) -> None:
        asked.append((archetype, revision))
        await roster.host(old)

    roster.reserve.fetch = fetch
    found = await roster.acquire("guard", ["nobody", "amy", "amy"])
    assert [isinstance(entry, Acting) for entry in found] == [False, True, True]
    assert asked == [("guard", old.archetype.revision)]
    roster.release("guard", found)
    await storage.run(create, store, Catalog({"guard": newer}, ()), "bob")
    amy, bob = await acquired(roster, "amy", "bob")
    assert await revisions(roster, amy, bob) == [1, 1]
    moved = begin_npc(newer.archetype, "amy", seed=3)
    commit = (await wanted(store, storage, offered, "amy"))._replace(
        archetype_revision=newer.archetype.revision, state=npc_to_bytes(moved)
    )
    await roster.commit(commit, ANY, moved.state)
    assert await revisions(roster, amy, bob) == [2, 1]
    roster.release("guard", [amy, bob])
    await roster.retire("guard", [old.archetype.revision], lambda: None)
    assert roster.repertoire.revision("guard", old.archetype.revision) is None
    assert await revisions(roster, *(await acquired(roster, "amy"))) == [2]
    roster.close()
    await storage.run(store.close)
    storage.close()


async def test_who_gives_up_while_a_revision_is_fetched_holds_nobody(tmp_path: Path, offered: Catalog) -> None:
    (tmp_path / "new").mkdir()
    save("guard", tmp_path / "new", seed=5)
    newer = Catalog({"guard": catalog.host(tmp_path / "new" / "guard.safetensors")}, ())
    storage, fetching = OwnerThread("store"), asyncio.Event()
    store = await storage.run(Store, f"sqlite:///{tmp_path / 'npcs.db'}")
    await storage.run(create, store, offered, "amy")
    await storage.run(create, store, newer, "bob")
    roster = Roster(newer, store, storage, 1 << 20)

    async def fetch(archetype: str, revision: str) -> None:
        fetching.set()
        await asyncio.Event().wait()

    roster.reserve.fetch = fetch
    asked = asyncio.create_task(roster.acquire("guard", ["amy", "bob"]))
    await fetching.wait()
    assert users(roster) == 1
    asked.cancel()
    await asyncio.wait([asked])
    await roster._troupe.thread.run(lambda: None)  # behind what was posted
    assert (asked.cancelled(), users(roster)) == (True, 0)
    roster.close()
    await storage.run(store.close)
    storage.close()
