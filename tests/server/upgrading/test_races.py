"""Upgrades and what comes at the same moment: the same request, a cancellation, a retirement, a store that fails."""

import asyncio
import time
from pathlib import Path

import grpc
import pytest

from npcmeta_server import catalog
from npcmeta_server.adapting.pool import AdaptationPool
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import adapt_pb2, archetypes_pb2, upgrades_pb2
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.roster import Roster
from npcmeta_server.services.upgrades import Upgrades
from npcmeta_server.services.uploads import Uploads
from npcmeta_server.serving import Settings
from npcmeta_server.store import Store
from npcmeta_server.upgrading import mover, upgrader
from npcmeta_server.upgrading.upgrader import Upgrader
from npcmeta_server.vetting.vetter import Vetter
from tests.server.client import Stream, adapt_requests, clip
from tests.server.in_thread import served
from tests.server.test_uploads import get
from tests.server.upgrading.playing import SPEC, Files, Upgrading, wait_for


def test_a_request_that_comes_twice_at_once_is_done_once(upgrading: Upgrading, files: Files) -> None:
    upgrading.client.create("guard", "amy")
    revision = upgrading.upload(files.new)
    wanted = upgrades_pb2.UpgradeNpcsRequest(archetype="archetypes/guard", revision=revision, request_id="once")
    first, again = (each.result() for each in [upgrading.stub.UpgradeNpcs.future(wanted) for _ in range(2)])
    assert first.name == again.name
    assert upgrading.end(first).moved == 1
    retired = archetypes_pb2.RetireArchetypeRequest(
        name="archetypes/guard", revision=files.old.revision, request_id="once"
    )
    for each in [upgrading.client.archetypes.RetireArchetype.future(retired) for _ in range(2)]:
        each.result()
    assert [each.revision for each in get(upgrading.client).revisions if each.active] == [revision]


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


async def test_an_upgrade_to_a_revision_that_is_just_retired_is_refused(files: Files, tmp_path: Path) -> None:
    found = catalog.load(files.folder)
    new = catalog.host_bytes(files.new, source="new")
    found = found._replace(beside={"guard": [new]})
    storage, revision = OwnerThread("store"), new.archetype.revision
    store = await storage.run(Store, f"sqlite:///{tmp_path / 'npcs.db'}")
    roster, pool = Roster(found, store, storage, 1 << 20), AdaptationPool({}, 0)
    uploads = Uploads(roster, store, storage, pool, Vetter())
    upgrades = Upgrades(roster, store, storage, uploads, Upgrader(roster, store, storage, pool, uploads.load))
    async with uploads.changing:
        asked = asyncio.create_task(
            upgrades.upgrade_npcs(upgrades_pb2.UpgradeNpcsRequest(archetype="archetypes/guard", revision=revision))
        )
        await asyncio.sleep(0.5)  # it waits for its turn
        await uploads.unload("guard", [revision], lambda: None)
    with pytest.raises(ServiceError, match="has no revision") as caught:
        await asked
    assert caught.value.reason == "ARCHETYPE_NOT_FOUND"
    await storage.run(store.close)
    for each in (roster, pool, storage):
        each.close()
