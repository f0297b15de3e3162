"""Files that are not ours, disks that are full, names that live twice: the store refuses, and keeps what it had."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import NpcFilter, RequestKey, Store, StoreError, engine
from tests.server.store.test_store import ANY, STATE, commit_of, npc_row, reason_of


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with one NPC of two revisions, closed."""
    path = tmp_path / "npcs.db"
    with contextlib.closing(Store(url_of(path))) as store:
        store.create_npc(npc_row("bob"), "abc", STATE, ANY)
        store.commit(commit_of(store, "bob", state=bytes(20_000)), ANY)
    return path


def raw(store: Store, statement: str) -> object:
    opened: Engine = store._engine
    with opened.begin() as connection:
        return connection.exec_driver_sql(statement).scalar()


def test_a_commit_on_a_full_disk_leaves_nothing_of_itself_and_works_when_there_is_room(path: Path) -> None:
    with contextlib.closing(Store(url_of(path))) as store:
        key = RequestKey("Adapt:full", "1")
        wanted = commit_of(store, "bob", state=bytes(200_000), clips=((bytes(1_000), 1), (bytes(100_000), 2)))
        pages = raw(store, "pragma page_count")
        assert isinstance(pages, int)
        for room in (0, 5, 30, 60):  # it fails at the first clip, at the second one, at the state
            raw(store, f"pragma max_page_count = {pages + room}")
            with pytest.raises(ServiceError, match=r"full.*nothing was changed") as caught:
                store.commit(wanted, key)
            assert reason_of(caught) == "STORE_UNAVAILABLE"
            assert (store.npc("bob").revision, len(store.demonstrations("bob", "", 9))) == (2, 1)
            assert [row.number for row in store.revisions("bob", 99, 9)] == [2, 1]
            assert store.committed("bob", key) is None
        raw(store, "pragma max_page_count = 1000000")
        assert store.commit(wanted, key)[0].number == 3


def test_what_is_acknowledged_is_on_the_disk_itself(path: Path) -> None:
    with contextlib.closing(Store(url_of(path))) as store:
        assert [raw(store, f"pragma {name}") for name in ("journal_mode", "synchronous")] == ["wal", 2]


def test_a_database_is_made_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(table: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "npcs.db"
    with monkeypatch.context() as patched:
        patched.setattr(engine, "insert", fail)
        with pytest.raises(KeyboardInterrupt):
            Store(url_of(path))
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("select name from sqlite_master").fetchall() == []
    with contextlib.closing(Store(url_of(path))) as store:
        assert store.npcs(NpcFilter(), "", 9) == []


FOREIGN = [
    "create table saves (game)",
    "create view saves as select 1",
    "create table schema (version integer)",
    "create table schema (version integer); insert into schema values (1); create table saves (game)",
    "create table schema (something_else); create table saves (game)",
]


@pytest.mark.parametrize("script", FOREIGN)
def test_a_database_of_another_program_is_refused_and_stays_as_it_is_to_the_byte(tmp_path: Path, script: str) -> None:
    path = tmp_path / "saves.db"
    with contextlib.closing(sqlite3.connect(path)) as saves, saves:
        saves.executescript(script)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"database of another program, it holds \['s"):
        Store(url_of(path))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["saves.db"]


def test_of_servers_that_start_at_once_on_a_new_file_one_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = url_of(tmp_path / "npcs.db")
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.3)

    def start() -> Store | None:
        with contextlib.suppress(StoreError):
            return Store(url)
        return None

    with ThreadPoolExecutor(3) as threads:
        opened = [store for store in threads.map(lambda _: start(), range(3)) if store is not None]
    assert len(opened) == 1
    assert opened[0].create_npc(npc_row("bob"), "abc", STATE, ANY)[1]
    opened[0].close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_store_that_would_keep_nothing_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="keeps nothing"):
        Store(url)


@pytest.mark.parametrize("name", ["file::memory:?", "file:?", "file:npcs?mode=memory&"])
def test_memory_under_another_name_is_refused_too(name: str) -> None:
    with pytest.raises(StoreError, match="does not keep in a file"):
        Store(f"sqlite:///{name}uri=true")


@pytest.mark.parametrize("wrong", ["sqlite:npcs.db", "sqlite://host/npcs.db", "sqlite:///npcs.db?timeout=soon", ""])
def test_a_url_that_cannot_be_read_is_refused(wrong: str) -> None:
    with pytest.raises(StoreError, match="the store"):
        Store(wrong)


def test_a_store_that_cannot_be_written_is_refused_when_it_is_opened(path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(f"sqlite:///file:{path}?mode=ro&uri=true")


OPEN_AS_NOBODY = """
import os, sys
from npcmeta_server.store import Store
Store(sys.argv[1]).close()
if os.geteuid() == 0:
    os.setuid(65534)  # root may write everywhere
Store(sys.argv[2])
"""


def test_a_folder_that_may_only_be_read_is_refused(path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:  # not tmp_path: nobody may go there
        folder = Path(name)
        shutil.copy(path, folder / "old.db")
        (folder / "old.db").chmod(0o444)
        folder.chmod(0o555)
        for file in ("old.db", "new.db"):
            command = [sys.executable, "-c", OPEN_AS_NOBODY, url_of(path), url_of(folder / file)]
            done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
            assert "StoreError" in done.stderr
            assert "cannot be opened" in done.stderr
        folder.chmod(0o755)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def test_a_refused_file_is_let_go_at_once(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("update schema set version = 99")
    with pytest.raises(StoreError, match="schema version 99"):
        Store(url_of(path))
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as database, database:
        database.execute("update schema set version = 1")
    with contextlib.closing(Store(url_of(path))) as store:
        assert store.npc("bob").revision == 2


def test_a_file_that_was_cut_off_anywhere_is_refused_or_answers_with_errors_of_ours(path: Path) -> None:
    whole = path.read_bytes()
    refused = 0
    for size in (16, 99, 100, 1_000, *range(4096, len(whole), 4096)):
        path.write_bytes(whole[:size])
        try:
            store = Store(url_of(path))
        except StoreError as error:
            refused += "malformed" in str(error) or "not a database" in str(error)
            continue
        with contextlib.closing(store), contextlib.suppress(ServiceError):
            assert len(store.state("bob")[2]) == 20_000
    assert refused > 5


def test_a_damaged_page_is_an_error_of_the_store_and_nothing_else(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    for start in range(4096, len(whole), 4096):
        path.write_bytes(whole[:start] + b"\xa5" * 4096 + whole[start + 4096 :])
        with contextlib.suppress(ServiceError, StoreError), contextlib.closing(Store(url_of(path))) as store:
            store.state("bob")
            store.commit(commit_of(store, "bob"), ANY)


def test_a_retry_does_not_get_what_a_later_npc_of_the_same_name_has(path: Path) -> None:
    create, adapt = RequestKey("CreateNpc:a", "1"), RequestKey("Adapt:a", "1")
    with contextlib.closing(Store(url_of(path))) as store:
        store.create_npc(npc_row("amy"), "abc", STATE, create)
        store.commit(commit_of(store, "amy"), adapt)
        store.delete_npc("amy", "")
        for later in (False, True):
            if later:
                store.create_npc(npc_row("amy"), "abc", STATE, ANY)
                store.commit(commit_of(store, "amy"), ANY)
            for retry in (
                lambda: store.create_npc(npc_row("amy"), "abc", STATE, create),
                lambda: store.committed("amy", adapt),
                lambda: store.commit(commit_of(store, "amy"), adapt),
            ):
                with pytest.raises(ServiceError) as caught:
                    retry()
                assert reason_of(caught) == "NPC_NOT_FOUND"
        assert store.npc("amy").revision == 2


def test_a_demonstration_counts_once_among_the_examples_of_a_revision(path: Path) -> None:
    with contextlib.closing(Store(url_of(path))) as store:
        stored = ("bob", store.add_demonstration("bob", b"stored", 3, ANY).id)
        with pytest.raises(ServiceError, match=r"^npcs/bob/demonstrations/.* already, nothing was changed"):
            store.commit(commit_of(store, "bob", demonstrations=(stored, stored)), ANY)
        store.commit(commit_of(store, "bob", clips=(), demonstrations=(stored,)), ANY)
        with pytest.raises(ServiceError, match="or adapt from_scratch"):
            store.commit(commit_of(store, "bob", clips=(), demonstrations=(stored,)), ANY)
        store.commit(commit_of(store, "bob", clips=(), demonstrations=(stored,), from_scratch=True), ANY)
        assert store.support("bob") == [b"stored"]


def test_thousands_of_clips_behind_one_revision_are_found_in_order(path: Path) -> None:
    with contextlib.closing(Store(url_of(path))) as store:
        clips = tuple((b"%d" % i, 1) for i in range(3_000))
        store.commit(commit_of(store, "bob", clips=clips, from_scratch=True), ANY)
        assert store.support("bob") == [data for data, _ in clips]
