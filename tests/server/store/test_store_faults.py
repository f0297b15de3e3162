"""Disks that are full, files that were damaged: the store refuses, and keeps what it had."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import Engine

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import RequestKey, Store, StoreError, complaints
from tests.server.store.rows import ANY, STATE, commit_of, npc_row, reason_of


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
        found = connection.exec_driver_sql(statement)
        return found.scalar() if found.returns_rows else None


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


def test_a_database_that_became_read_only_can_be_read_and_written_again_later(path: Path) -> None:
    with contextlib.closing(Store(url_of(path))) as store:
        wanted = commit_of(store, "bob")
        raw(store, "pragma query_only = on")
        for end in (*store.commit_all([(wanted, ANY)] * 3), *store.commit_all([(wanted, ANY)])):
            assert isinstance(end, ServiceError)
            assert end.reason == "STORE_UNAVAILABLE"
            assert "readonly database; nothing was changed" in end.message
        assert store.state("bob")[1].number == 2
        raw(store, "pragma query_only = off")
        assert store.commit(wanted, ANY).revision.number == 3


def test_what_is_acknowledged_is_on_the_disk_itself(path: Path) -> None:
    with contextlib.closing(Store(url_of(path))) as store:
        assert [raw(store, f"pragma {name}") for name in ("journal_mode", "synchronous")] == ["wal", 2]


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


def test_bytes_flipped_in_the_log_of_writes_cost_the_last_commits_and_never_half_of_one(path: Path) -> None:
    with contextlib.closing(Store(url_of(path))) as store:
        for number in range(3, 10):
            store.commit(commit_of(store, "bob", state=b"%d" % number, clips=((b"clip %d" % number, 1),)), ANY)
        log = path.with_name("npcs.db-wal")
        files = {file: file.read_bytes() for file in (path, log)}  # as a crash would leave them
    assert len(files[log]) > 100_000
    ends = set()
    for at in (0, 9, 40, *range(5_000, len(files[log]), 9_973)):
        path.write_bytes(files[path])
        log.write_bytes(files[log][:at] + bytes([files[log][at] ^ 0x55]) + files[log][at + 1 :])
        with contextlib.closing(Store(url_of(path))) as store:
            row, _, state = store.state("bob")
            assert state == (bytes(20_000) if row.revision == 2 else b"%d" % row.revision)
            assert len(store.support("bob")) == row.revision - 1
            ends.add(row.revision)
    assert ends >= {2, 5, 8}


def test_a_damaged_store_says_so_and_what_to_do(path: Path) -> None:
    whole = path.read_bytes()
    said = set()
    for start in range(4096, len(whole), 4096):
        path.write_bytes(whole[:start] + b"\xa5" * 4096 + whole[start + 4096 :])
        try:
            with contextlib.closing(Store(url_of(path))) as store:
                store.commit(commit_of(store, "bob"), ANY)
        except (StoreError, ServiceError) as error:
            said.add(str(error))
    assert any("is damaged" in text and "put a copy in its place" in text for text in said)


def test_a_file_that_was_taken_away_takes_no_commit_until_it_is_back(path: Path) -> None:
    with contextlib.closing(Store(url_of(path))) as store:
        wanted, away = commit_of(store, "bob"), path.with_name("away.db")
        path.rename(away)
        for replacement in (False, True):
            if replacement:
                shutil.copy(away, path)
            with pytest.raises(ServiceError, match=r"npcs.db is not there any more.*nothing was changed") as caught:
                store.commit(wanted, ANY)
            assert reason_of(caught) == "STORE_UNAVAILABLE"
        away.rename(path)
        assert store.npc("bob").revision == 2
        assert store.commit(wanted, ANY)[0].number == 3


def test_a_folder_that_was_removed_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with contextlib.closing(Store(url_of(folder / "npcs.db"))) as store:
        shutil.rmtree(folder)
        with pytest.raises(ServiceError, match="is not there any more"):
            store.create_npc(npc_row("amy"), "abc", STATE, ANY)


def test_the_log_names_each_fault_once_in_a_while(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def logged() -> list[str]:
        found = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        caplog.clear()
        return found

    with contextlib.closing(Store(url_of(path))) as store:
        wanted = commit_of(store, "bob")
        raw(store, "pragma query_only = on")
        for _ in range(3):
            store.commit_all([(wanted, ANY)] * 2)
        [said] = logged()
        assert "attempt to write a readonly database; nothing was changed" in said
        path.rename(path.with_name("away.db"))
        with pytest.raises(ServiceError):
            store.npc("bob")
        [said] = logged()
        assert "npcs.db is not there any more" in said
        path.with_name("away.db").rename(path)
        with pytest.raises(ServiceError):
            store.npc("nobody")  # which is no fault
        assert logged() == []
        monkeypatch.setattr(complaints, "QUIET_SECONDS", 0.0)
        store.commit_all([(wanted, ANY)] * 2)
        assert logged()
