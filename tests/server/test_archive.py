"""The archive: what NPCs act with is kept, whatever the folder holds by the next start."""

import time
from pathlib import Path

import pytest

from npcmeta.archetype import Archetype, begin_npc, npc_to_bytes
from npcmeta_server import archive, catalog
from npcmeta_server.catalog import Catalog
from npcmeta_server.store import ONCE, NpcRow, Store, archetypes
from tests.server.conftest import save


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'npcs.db'}")


def folder(path: Path, seed: int | None) -> tuple[Archetype, Catalog]:
    path.mkdir(exist_ok=True)
    archetype = save("guard", path, seed, trained=False)
    return archetype, catalog.load(path)


def begin(store: Store, archetype: Archetype, npc: str) -> None:
    row = NpcRow(npc, archetype.name, "", 3, 1, 0, time.time(), time.time(), "etag")
    store.create_npc(row, archetype.revision, npc_to_bytes(begin_npc(archetype, npc)), ONCE)


def shown(found: Catalog) -> list[str]:
    return [each.archetype.revision for each in (found.hosted["guard"], *found.beside["guard"])]


def test_a_newer_file_is_for_new_npcs_and_the_old_one_stays_for_those_there_are(store: Store, tmp_path: Path) -> None:
    old, first = folder(tmp_path / "runs", 1)
    assert shown(archive.settle(first, store)) == [old.revision]
    begin(store, old, "amy")
    new, second = folder(tmp_path / "runs", 2)
    assert shown(archive.settle(second, store)) == [new.revision, old.revision]
    begin(store, new, "bob")
    assert store.do(archetypes.counts) == {"guard": {old.revision: 1, new.revision: 1}}
    store.delete_npc("amy", "")
    assert shown(archive.settle(second, store)) == [new.revision]
    (tmp_path / "runs" / "guard.safetensors").unlink()
    gone = archive.settle(catalog.load(tmp_path / "runs"), store)
    assert shown(gone) == [new.revision]
    assert gone.hosted["guard"].data == second.hosted["guard"].data


def test_a_file_that_was_there_before_changes_nothing_and_one_that_is_put_back_counts(
    store: Store, tmp_path: Path
) -> None:
    old, first = folder(tmp_path / "runs", 1)
    archive.settle(first, store)
    new, second = folder(tmp_path / "elsewhere", 2)
    store.do(
        archetypes.keep, "guard", new.revision, second.hosted["guard"].data, current=True, request=ONCE
    )  # uploaded
    assert shown(archive.settle(first, store)) == [new.revision]
    assert shown(archive.settle(second, store)) == [new.revision]
    assert shown(archive.settle(first, store)) == [old.revision]


def test_a_file_that_sees_otherwise_than_npcs_act_is_refused_and_they_act_on(store: Store, tmp_path: Path) -> None:
    old, first = folder(tmp_path / "runs", 1)
    archive.settle(first, store)
    begin(store, old, "amy")
    hosted = first.hosted["guard"]
    other = hosted.archetype._replace(spec=hosted.archetype.spec._replace(tick_rate_hz=5.0), revision="f" * 64)
    found = archive.settle(Catalog({"guard": hosted._replace(archetype=other)}, ()), store)
    assert shown(found) == [old.revision]
    assert "train it under another name" in found.problems[0]


def test_a_retired_archetype_is_not_offered_until_another_file_comes(store: Store, tmp_path: Path) -> None:
    _, first = folder(tmp_path / "runs", 1)
    archive.settle(first, store)
    store.do(archetypes.make_current, "guard", "")
    with pytest.raises(ValueError, match="archetypes/guard: is retired; upload it again"):
        archive.settle(first, store)
    new, second = folder(tmp_path / "runs", 2)
    assert shown(archive.settle(second, store)) == [new.revision]


def test_a_kept_file_that_is_damaged_is_a_problem_not_the_end(store: Store, tmp_path: Path) -> None:
    old, first = folder(tmp_path / "runs", 1)
    store.do(archetypes.keep, "guard", "e" * 64, b"garbage", current=True, request=ONCE)
    begin(store, old._replace(revision="e" * 64), "amy")
    found = archive.settle(first, store)
    assert shown(found) == [old.revision]
    assert "revision eeeeeeeeeeee in the store" in found.problems[0]
