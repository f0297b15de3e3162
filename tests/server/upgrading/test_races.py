"""Upgrades and what comes at the same moment: the same request, a cancellation, a retirement, a store that fails."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from npcmeta_server import archive, catalog
from npcmeta_server.adapting.pool import AdaptationPool
from npcmeta_server.catalog import Catalog
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import adapt_pb2, archetypes_pb2, upgrades_pb2
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.roster import Roster
from npcmeta_server.services.archetypes import Archetypes
from npcmeta_server.services.upgrades import Upgrades
from npcmeta_server.services.uploads import Uploads
from npcmeta_server.serving import Settings
from npcmeta_server.store import Store
from npcmeta_server.upgrading import mover, upgrader
from npcmeta_server.upgrading.upgrader import Upgrader
from npcmeta_server.vetting.vetter import Vetter
from tests.server.client import Stream, adapt_requests, clip
from tests.server.in_thread import served
from tests.server.upgrading.playing import SPEC, Files, Upgrading, wait_for

GUARD = "archetypes/guard"


def test_nobody_is_moved_once_the_cancellation_is_answered(upgrading: Upgrading, files: Files) -> None:
    npc, revision = upgrading.client.create("guard", "amy"), upgrading.upload(files.new)
    lesson = Stream(upgrading.client.adapting.Adapt)  # for whose end the upgrade waits
    lesson.ask(adapt_requests(npc, clip(SPEC, 5))[0])
    begun = upgrading.begin(revision)
    time.sleep(0.3)
    upgrading.stub.CancelUpgrade(upgrades_pb2.CancelUpgradeRequest(name=begun.name))
    lesson.send(adapt_pb2.AdaptRequest(discard=adapt_pb2.Discard()))
    assert [each.WhichOneof("response") for each in lesson.call] == ["discarded"]
    time.sleep(3)  # in which it is tried twice more
    assert [each.archetype_revision for each in upgrading.revisions(npc)] == [files.old.revision]
    assert upgrading.get(begun).moved == 0


def test_an_upgrade_goes_on_when_the_store_was_away_for_several_tries(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(upgrader, "TROUBLE_SECONDS", 0.05)
    monkeypatch.setattr(mover, "WAIT_SECONDS", 0.001)
    store, away = tmp_path / "npcs.db", tmp_path / "away.db"
    settings = Settings(files.folder, f"sqlite:///{store}", "127.0.0.1", 0, 0)
    with served(settings) as server, grpc.insecure_channel(server.grpc) as channel:
        upgrading = Upgrading(channel)
        for number in range(40):
            upgrading.client.create("guard", f"npc-{number}")
        begun = upgrading.begin(upgrading.upload(files.new))
        store.rename(away)
        wait_for(lambda: caplog.text.count(f"{begun.name} waits: the store's file") > 2)
        away.rename(store)
        done = upgrading.end(begun)
        assert (done.npcs, done.moved + done.failed) == (40, 40)
        assert done.moved > 0


class Offices(NamedTuple):
    """The services about archetypes, of a server with two revisions of the guard and no NPC."""

    uploads: Uploads
    upgrades: Upgrades
    archetypes: Archetypes
    roster: Roster
    revision: str  # that is not the current one

    def retire(self, revision: str = "") -> Coroutine[Any, Any, Empty]:
        """Retires the guard, or a revision of it."""
        return self.archetypes.retire_archetype(archetypes_pb2.RetireArchetypeRequest(name=GUARD, revision=revision))

    def upgrade(self) -> Coroutine[Any, Any, upgrades_pb2.Upgrade]:
        """Moves everybody to the other revision."""
        return self.upgrades.upgrade_npcs(upgrades_pb2.UpgradeNpcsRequest(archetype=GUARD, revision=self.revision))

    async def together(self, *work: Coroutine[Any, Any, Any]) -> list[Any]:
        """Lets calls come at the same time: all wait for their turn before the first one has it."""
        async with self.uploads.changing:
            asked = [asyncio.create_task(each) for each in work]
            await asyncio.sleep(0.3)
        return await asyncio.gather(*asked, return_exceptions=True)


@pytest.fixture(scope="module")
def found(archetype_folder: Path, files: Files) -> Catalog:
    return catalog.load(archetype_folder)._replace(beside={"guard": [catalog.host_bytes(files.new, source="new")]})


@pytest.fixture
async def offices(found: Catalog, tmp_path: Path) -> AsyncIterator[Offices]:
    storage = OwnerThread("store")
    store = await storage.run(Store, f"sqlite:///{tmp_path / 'npcs.db'}")
    await storage.run(archive.settle, found, store)
    roster, pool = Roster(found, store, storage, 1 << 20), AdaptationPool({}, 0)
    uploads = Uploads(roster, store, storage, pool, Vetter())
    upgrades = Upgrader(roster, store, storage, pool, uploads.load)
    yield Offices(
        uploads,
        Upgrades(roster, store, storage, uploads, upgrades),
        Archetypes(roster, store, storage, uploads, asyncio.Event()),
        roster,
        found.beside["guard"][0].archetype.revision,
    )
    await upgrades.close()
    await storage.run(store.close)
    for each in (roster, pool, storage):
        each.close()


async def test_an_upgrade_that_is_asked_for_twice_at_once_is_begun_once(offices: Offices) -> None:
    wanted = upgrades_pb2.UpgradeNpcsRequest(archetype=GUARD, revision=offices.revision, request_id="friday")
    first, again = await offices.together(*(offices.upgrades.upgrade_npcs(wanted) for _ in range(2)))
    assert first.name == again.name
    listed = await offices.upgrades.list_upgrades(upgrades_pb2.ListUpgradesRequest(parent=GUARD))
    assert [each.name for each in listed.upgrades] == [first.name]


async def test_a_retirement_that_is_asked_for_twice_at_once_is_done_once(offices: Offices) -> None:
    wanted = archetypes_pb2.RetireArchetypeRequest(name=GUARD, revision=offices.revision, request_id="friday")
    assert await offices.together(*(offices.archetypes.retire_archetype(wanted) for _ in range(2))) == [Empty()] * 2
    [left] = (await offices.archetypes.get_archetype(archetypes_pb2.GetArchetypeRequest(name=GUARD))).revisions
    assert left.revision != offices.revision


async def test_an_upgrade_to_a_revision_that_is_just_retired_is_refused(offices: Offices) -> None:
    done, refused = await offices.together(offices.retire(offices.revision), offices.upgrade())
    assert done == Empty()
    assert isinstance(refused, ServiceError)
    assert refused.reason == "ARCHETYPE_NOT_FOUND"


async def test_a_list_that_begins_before_an_archetype_is_retired_still_shows_it(offices: Offices) -> None:
    retired = archetypes_pb2.RetireArchetypeRequest(name="archetypes/warden")
    listed, _ = await asyncio.gather(
        offices.archetypes.list_archetypes(archetypes_pb2.ListArchetypesRequest()),
        offices.archetypes.retire_archetype(retired),
    )
    assert [each.name for each in listed.archetypes][-1] == "archetypes/warden"


@pytest.fixture
async def unloaded(offices: Offices, files: Files) -> Offices:
    """The same, where the other revision is kept and has to be loaded."""
    setup = archetypes_pb2.UploadSetup(archetype=GUARD)
    wanted = archetypes_pb2.UploadArchetypeOnceRequest(setup=setup, data=files.new)
    await offices.archetypes.upload_archetype_once(wanted)
    await offices.retire(offices.revision)
    return offices


async def test_an_archetype_that_is_retired_while_a_revision_is_loaded_stays_retired(unloaded: Offices) -> None:
    done, refused = await unloaded.together(unloaded.retire(), unloaded.upgrade())
    assert done == Empty()
    assert "guard" not in unloaded.roster.repertoire
    assert isinstance(refused, ServiceError)
    assert (refused.reason, "was retired; upload it again" in refused.message) == ("ARCHETYPE_NOT_FOUND", True)


async def test_one_that_is_retired_while_a_revision_begins_to_act_for_somebody_who_is_gone_stays_retired(
    unloaded: Offices,
) -> None:
    acting, go_on = unloaded.roster._troupe.thread, threading.Event()
    acting.post(go_on.wait)
    asked = asyncio.create_task(unloaded.upgrade())
    while not unloaded.uploads.changing.locked():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)  # in which it comes to the acting thread
    asked.cancel()
    retired = asyncio.create_task(unloaded.retire())
    await asyncio.sleep(0.3)
    go_on.set()
    assert (await retired, "guard" in unloaded.roster.repertoire) == (Empty(), False)
