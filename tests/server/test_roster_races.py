"""The roster under everything at once: acquiring, acting, committing, deleting, giving up, in too small a bank."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import torch

from npcmeta.archetype import begin_npc, npc_from_bytes, npc_to_bytes
from npcmeta_server.catalog import Catalog
from npcmeta_server.errors import ServiceError
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.roster import Roster
from npcmeta_server.seating import Acting
from npcmeta_server.store import RequestKey, Store
from tests.server.test_roster import ANY, create, offered, revisions, users, wanted

__all__ = ["offered"]
NAMES = [f"npc-{i}" for i in range(8)]
ROWS = 5


class House:
    """A roster whose bank has room for five of eight NPCs, and its store."""

    def __init__(self, offered: Catalog, storage: OwnerThread, store: Store) -> None:
        self.offered, self.storage, self.store = offered, storage, store
        self.hosted = offered.hosted["guard"]
        self.roster = Roster(offered, store, storage, ROWS * self.hosted.state_bytes)
        self.bank = self.roster._troupe.ensembles["guard"].bank

    async def create(self, name: str) -> None:
        await self.storage.run(create, self.store, self.offered, name)

    async def commit(self, name: str, value: float, key: RequestKey = ANY) -> int:
        """Commits a state that is `value` everywhere."""
        npc = begin_npc(self.hosted.archetype, name)
        npc = npc._replace(state={k: torch.full_like(v, value) for k, v in npc.state.items()})
        request = (await wanted(self.store, self.storage, self.offered, name))._replace(state=npc_to_bytes(npc))
        return (await self.roster.commit(request, key, npc.state))[0].number

    async def check(self, name: str) -> None:
        """What would act is what is on disk."""
        [found] = await self.roster.acquire("guard", [name])
        try:
            row, _, data = await self.storage.run(self.store.state, name)
        except ServiceError:
            assert isinstance(found, ServiceError)
            assert found.reason == "NPC_NOT_FOUND"
            return
        assert isinstance(found, Acting)
        state = npc_from_bytes(data, self.hosted.archetype, source=name).state
        for key, value in self.bank.gather(np.array([found.row]), self.hosted.archetype.revision).items():
            np.testing.assert_array_equal(value, state[key.removeprefix("state.")])
        assert await revisions(self.roster, found) == [row.revision]
        self.roster.release("guard", [found])


@pytest.fixture
async def house(offered: Catalog, tmp_path: Path) -> AsyncIterator[House]:
    storage = OwnerThread("store")
    made = House(offered, storage, await storage.run(Store, f"sqlite:///{tmp_path / 'npcs.db'}"))
    for name in NAMES:
        await made.create(name)
    yield made
    made.roster.close()
    await storage.run(made.store.close)
    storage.close()


async def play(house: House, chance: random.Random) -> None:
    """One client that does anything, any number of times, with everybody."""
    refusals = {"NPC_NOT_FOUND", "REVISION_NOT_FOUND", "NPC_EXISTS", "ETAG_MISMATCH", "TOO_MANY"}
    for _ in range(12):
        name = chance.choice(NAMES)
        try:
            what = chance.random()
            if what < 0.4:
                found = await house.roster.acquire("guard", chance.choices(NAMES, k=3))
                try:
                    acting = [entry for entry in found if isinstance(entry, Acting)]
                    assert {entry.reason for entry in found if isinstance(entry, ServiceError)} <= refusals
                    if acting:
                        await revisions(house.roster, *acting)
                finally:
                    house.roster.release("guard", found)
            elif what < 0.65:
                await house.commit(name, chance.random())
            elif what < 0.75:
                await house.roster.roll_back(name, chance.randint(1, 4), "", ANY)
            elif what < 0.85:
                await house.roster.delete(name, "")
            else:
                await house.create(name)
        except ServiceError as error:
            if error.reason not in refusals:
                raise


@pytest.mark.parametrize("seed", range(4))
async def test_after_any_mess_the_bank_holds_what_is_on_disk_and_nobody_is_held(seed: int, house: House) -> None:
    chance = random.Random(seed)
    tasks = [asyncio.create_task(play(house, random.Random(chance.random()))) for _ in range(8)]
    for victim in tasks[:4]:
        await asyncio.sleep(chance.uniform(0, 0.02))
        victim.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [end for end in ends if end is not None and not isinstance(end, asyncio.CancelledError)] == []
    for name in NAMES:
        await house.check(name)
    assert await house.roster._troupe.thread.run(lambda: users(house.roster)) == 0
    assert len(house.bank) <= ROWS


async def test_a_commit_whose_client_has_gone_is_in_the_bank_as_on_the_disk(house: House) -> None:
    await house.roster.acquire("guard", [NAMES[0]])
    for turns in range(12):
        committing = asyncio.create_task(house.commit(NAMES[0], turns))
        for _ in range(turns):
            await asyncio.sleep(0)
        committing.cancel()
        await asyncio.gather(committing, return_exceptions=True)
        await house.check(NAMES[0])


async def test_a_retry_of_an_old_commit_does_not_bring_its_state_back(house: House) -> None:
    await house.roster.acquire("guard", [NAMES[0]])
    monday = RequestKey("Adapt:monday", "1")
    assert [await house.commit(NAMES[0], 1, monday), await house.commit(NAMES[0], 2)] == [2, 3]
    assert await house.commit(NAMES[0], 1, monday) == 2
    await house.check(NAMES[0])
    assert house.bank.gather(np.array([0]), house.hosted.archetype.revision)["state.sum"].max() == 2


async def test_a_full_bank_refuses_those_who_do_not_fit_and_no_others(house: House) -> None:
    found = await house.roster.acquire("guard", NAMES)
    assert [isinstance(entry, Acting) for entry in found] == [True] * ROWS + [False] * 3
    assert {entry.reason for entry in found[ROWS:] if isinstance(entry, ServiceError)} == {"TOO_MANY"}
    house.roster.release("guard", found)
    # Those who are there already stay, wherever they stand in the list.
    again = await house.roster.acquire("guard", [NAMES[6], NAMES[7], *NAMES[:3]])
    assert all(isinstance(entry, Acting) for entry in again)
    assert again[2:] == found[:3]


async def test_an_npc_of_another_archetype_is_refused_by_name(house: House) -> None:
    row = (await house.storage.run(house.store.npc, NAMES[0]))._replace(id="stranger", archetype="scout")
    await house.storage.run(house.store.create_npc, row, "abc", b"", ANY)
    [error] = await house.roster.acquire("guard", ["stranger"])
    assert isinstance(error, ServiceError)
    assert (error.reason, error.metadata["archetype"]) == ("WRONG_ARCHETYPE", "scout")


async def test_a_damaged_state_is_an_error_of_the_store_for_that_npc_alone(house: House) -> None:
    npc = await wanted(house.store, house.storage, house.offered, NAMES[0])
    await house.storage.run(house.store.commit, npc._replace(state=b"garbage"), ANY)
    error, other = await house.roster.acquire("guard", NAMES[:2])
    assert isinstance(other, Acting)
    assert isinstance(error, ServiceError)
    assert error.reason == "STORE_UNAVAILABLE"
