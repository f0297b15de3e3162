"""What is no store of ours, or is in use, is refused when it is opened, and stays as it is."""

import contextlib
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from npcmeta_server.demo.host import free_port
from npcmeta_server.store import NpcFilter, Store, StoreError, shown, sqlite, versions
from npcmeta_server.store.engine import refusal
from tests.server.store.conftest import ask
from tests.server.store.rows import ANY, STATE, npc_row

FOREIGN = [
    ("create table saves (game integer)",),
    ("create view saves as select 1",),
    ("create table schema (version integer)",),
    ("create table schema (version integer)", "insert into schema values (1)", "create table saves (game integer)"),
    ("create table schema (something_else integer)", "create table saves (game integer)"),
]


def test_a_second_server_is_kept_out_of_a_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'npcs.db'}"
    with contextlib.closing(Store(url)) as store:
        with pytest.raises(StoreError, match="is another server using it"):
            Store(url)
        assert store.npcs(NpcFilter(), "", 9) == ([], "")


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "npcs.db").write_bytes(content)
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(f"sqlite:///{tmp_path / 'npcs.db'}")
    assert (tmp_path / "npcs.db").read_bytes() == content


def test_what_is_no_database_for_us_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected sqlite:///FILE or postgresql"):
        Store("mysql://user:secret@host/db")
    with pytest.raises(StoreError, match=r"cannot be opened.*does its folder exist"):
        Store(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}")
    with pytest.raises(StoreError, match=r"cannot be opened.*is it running") as caught:
        Store(f"postgresql+psycopg://user:secret@127.0.0.1:{free_port()}/db")
    assert "secret" not in str(caught.value)


def test_a_full_disk_is_not_taken_for_a_missing_folder() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("pragma max_page_count = 1")
        with pytest.raises(sqlite3.OperationalError) as caught:
            connection.execute("create table more_than_a_page (x)")
    assert str(refusal(caught.value, "sqlite:///npcs.db")).endswith("is full; make room on its disk")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:secret/db",
        "postgresql://user:12@secret@host/db",
        "postgresql+psycopg://user:secret@host:port/db",
        "postgresql+psycopg://user@127.0.0.1:1/db?password=secret",
        "postgresql+secret",
        "secret",
    ],
)
def test_no_url_that_is_refused_shows_a_password(url: str) -> None:
    with pytest.raises(StoreError, match="the store") as caught:
        Store(url)
    assert "secret" not in str(caught.value) or ":" not in url
    assert "secret" not in shown(url) or ":" not in url


def test_postgresql_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"needs npcmeta\[postgres\]"):
        Store("postgresql+psycopg://user:secret@host/db")


@pytest.mark.parametrize("statements", FOREIGN)
def test_a_database_of_another_program_is_refused_and_stays_as_it_is(url: str, statements: tuple[str, ...]) -> None:
    ask(url, *statements)
    before = inspected(url)
    with pytest.raises(StoreError, match=r"database of another program, it holds \['s"):
        Store(url)
    assert inspected(url) == before


def inspected(url: str) -> object:
    """A file to the byte with its neighbours, or the tables of a database."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        return path.read_bytes(), [file.name for file in path.parent.iterdir()]
    return ask(url, "select table_name, column_name from information_schema.columns where table_schema = 'public'")


def test_of_servers_that_start_at_once_all_use_one_database_or_one_gets_the_file(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.3)

    def start() -> Store | None:
        with contextlib.suppress(StoreError):
            return Store(url)
        return None

    with ThreadPoolExecutor(3) as threads:
        opened = [store for store in threads.map(lambda _: start(), range(3)) if store is not None]
    assert len(opened) == (1 if url.startswith("sqlite") else 3)
    for i, store in enumerate(opened):
        store.create_npc(npc_row(f"npc-{i}"), "abc", STATE, ANY)
    assert len(opened[0].npcs(NpcFilter(), "", 9)[0]) == len(opened)
    for store in opened:
        store.close()


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


def test_a_file_that_cannot_be_written_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    Store(f"sqlite:///{tmp_path / 'npcs.db'}").close()
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(f"sqlite:///file:{tmp_path / 'npcs.db'}?mode=ro&uri=true")


def test_a_refused_store_is_let_go_at_once(url: str, store: Store) -> None:
    store.close()
    [(version,)] = ask(url, "select version from schema")
    ask(url, "update schema set version = 99")
    with pytest.raises(StoreError, match="schema version 99"):
        Store(url)
    ask(url, f"update schema set version = {version}")
    with contextlib.closing(Store(url)) as again:
        assert again.npc("bob").revision == 1


def test_a_database_is_made_as_a_whole_or_not_at_all(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(table: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(versions, "insert", fail)
        with pytest.raises(KeyboardInterrupt):
            Store(url)
    assert tables(url) == []
    with contextlib.closing(Store(url)) as store:
        assert store.npcs(NpcFilter(), "", 9) == ([], "")


def tables(url: str) -> list[str]:
    engine = create_engine(url)
    with contextlib.closing(engine.connect()) as connection:
        found = inspect(connection).get_table_names()
    engine.dispose()
    return found
