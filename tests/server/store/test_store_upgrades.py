"""Archetype files and upgrades in the store, on each database: kept once, counted exactly, carried on by one server."""

import time

import pytest

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import RequestKey, Store, archetypes, requests, upgrades
from npcmeta_server.store.upgrades import CANCELLED, DONE, FAILED, KEPT, MOVED, RUNNING, SKIPPED, Outcome, UpgradeRow
from tests.server.store.rows import ANY, STATE, commit_of, npc_row, reason_of

FILE = bytes(range(256)) * 5000


def keep(store: Store, revision: str, request: RequestKey = ANY, *, current: bool = False) -> bool:
    return store.do(archetypes.keep, "guard", revision, FILE, current=current, request=request)


def begin(store: Store, name: str, npcs: str = "", request: RequestKey = ANY) -> UpgradeRow:
    wanted = UpgradeRow(name, "guard", "def", npcs, 0.05, False, RUNNING, 0, "", 0, 0, 0, 1.0, 0.0)
    return store.do(upgrades.begin, wanted, request)


def test_a_file_is_kept_once_and_the_first_revision_is_current(store: Store, url: str) -> None:
    assert keep(store, "abc", RequestKey("Upload:a", "1"))
    assert not keep(store, "abc", RequestKey("Upload:a", "1"))
    assert keep(store, "def")
    assert store.do(archetypes.everything)["guard"].current == "abc"
    assert keep(store, "def", current=True)
    assert [row.revision for row in store.do(archetypes.kept, "guard")] == ["def", "abc"]
    store.close()
    again = Store(url)
    assert (again.do(archetypes.data, "abc"), again.do(archetypes.data, "xyz")) == (FILE, None)
    assert again.do(archetypes.everything)["guard"].current == "def"
    again.close()


def test_the_newest_revision_is_the_last_one_kept_whatever_the_clock_says(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds, revision in ((1000.0, "new"), (10.0, "zzz"), (10.0, "abc"), (2000.0, "mid")):
        monkeypatch.setattr(time, "time", lambda seconds=seconds: seconds)
        keep(store, revision)
    kept = store.do(archetypes.kept, "guard")
    assert [row.revision for row in kept] == ["mid", "abc", "zzz", "new"]
    assert kept[0].create_time == 2000.0


def test_a_revision_that_could_not_act_is_forgotten_with_its_request(store: Store) -> None:
    key = RequestKey("Upload:a", "1")
    keep(store, "abc", key)
    store.do(archetypes.forget, "guard", "abc", key)
    assert store.do(archetypes.everything) == {}
    assert store.do(requests.repeated, key) is None
    assert keep(store, "abc", key)


def test_npcs_are_counted_by_the_revision_that_they_act_with(store: Store) -> None:
    for name, archetype in (("amy", "guard"), ("eve", "guard"), ("sue", "scout")):
        store.create_npc(npc_row(name, archetype), "abc", STATE, ANY)
    store.commit(commit_of(store, "bob", archetype_revision="def"), ANY)
    assert store.do(archetypes.counts) == {"guard": {"abc": 2, "def": 1}, "scout": {"abc": 1}}
    store.roll_back("bob", 1, "", ANY)
    store.delete_npc("amy", "")
    assert store.do(archetypes.counts, "guard") == {"guard": {"abc": 2}}


def test_an_upgrade_is_carried_on_by_one_server_and_counts_everybody_once(store: Store) -> None:
    for name in ("amy", "eve", "sue"):
        store.create_npc(npc_row(name), "abc", STATE, ANY)
    keep(store, "abc")
    keep(store, "def")
    row = begin(store, "1")
    assert (row.total, store.do(archetypes.everything)["guard"].current) == (4, "def")
    with pytest.raises(ServiceError) as caught:
        begin(store, "2")
    assert reason_of(caught) == "UPGRADE_IN_PROGRESS"
    assert store.do(upgrades.members, row, 3) == ["amy", "bob", "eve"]
    found = [Outcome("amy", MOVED), Outcome("bob", KEPT, "worse", 0.5, 0.9), Outcome("eve", FAILED, "why")]
    after = store.do(upgrades.record, row, "eve", found)
    assert after is not None
    assert (after.cursor, after.moved, after.kept, after.failed) == ("eve", 1, 1, 1)
    assert store.do(upgrades.record, row, "eve", found) is None  # another server was there first
    assert store.do(upgrades.members, after, 3) == ["sue"]
    assert store.do(upgrades.running) == [after]
    assert store.do(upgrades.end, "guard", "1", CANCELLED).state == CANCELLED
    assert store.do(upgrades.record, after, "sue", [Outcome("sue", SKIPPED)]) is None
    assert store.do(upgrades.end, "guard", "1", DONE).state == CANCELLED
    assert [each.npc for each in store.do(upgrades.told, "1", "", 9)] == ["bob", "eve"]
    assert store.do(upgrades.told, "1", "bob", 9) == [found[2]]


def test_an_upgrade_of_some_leaves_the_current_revision_and_is_listed_newest_first(store: Store) -> None:
    keep(store, "abc")
    keep(store, "def")
    row = begin(store, "1", '["bob", "eve", "zoe"]')
    assert (row.total, store.do(archetypes.everything)["guard"].current) == (3, "abc")
    assert store.do(upgrades.members, row._replace(cursor="bob"), 9) == ["eve", "zoe"]
    store.do(upgrades.end, "guard", "1", DONE)
    key = RequestKey("Upgrade:a", "1")
    begin(store, "2", request=key)
    assert store.do(requests.repeated, key) == {"upgrade": "2"}
    assert [row.id for row in store.do(upgrades.page, "guard", "", 9)] == ["2", "1"]
    assert [row.id for row in store.do(upgrades.page, "guard", "2", 9)] == ["1"]
    for archetype, name in (("guard", "3"), ("scout", "1")):
        with pytest.raises(ServiceError) as caught:
            store.do(upgrades.find, archetype, name)
        assert reason_of(caught) == "UPGRADE_NOT_FOUND"
