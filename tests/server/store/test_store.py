"""The store: what it acknowledged is there, what failed left nothing, and a second server is kept out."""

import contextlib
import sqlite3
import time
from pathlib import Path

import pytest

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import CommitRequest, NpcFilter, NpcRow, RequestKey, Store, StoreError

ANY = RequestKey("", "")
STATE = b"state"


def npc_row(name: str, archetype: str = "guard", etag: str = "first") -> NpcRow:
    now = time.time()
    return NpcRow(name, archetype, "", (1 << 64) - 1, 1, 0, now, now, etag)


def commit_of(store: Store, npc: str, **changes: object) -> CommitRequest:
    wanted = CommitRequest(npc, store.npc(npc).etag, "abc", 5, 0.5, b"adapted", ((b"clip", 5),), (), False)
    return wanted._replace(**changes)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'npcs.db'}"


@pytest.fixture
def store(url: str) -> Store:
    opened = Store(url)
    opened.create_npc(npc_row("bob"), "abc", STATE, ANY)
    return opened


def reason_of(error: pytest.ExceptionInfo[ServiceError]) -> str:
    return error.value.reason


def test_an_npc_comes_back_as_it_was_made_after_the_store_was_opened_again(url: str, store: Store) -> None:
    made = store.npc("bob")
    assert made.seed == (1 << 64) - 1
    store.close()
    again = Store(url)
    row, revision, state = again.state("bob")
    assert row == made
    assert (revision.number, revision.examples, state) == (1, 0, STATE)


def test_pages_go_on_behind_a_name_and_know_their_archetype(store: Store) -> None:
    for name in ("amy", "cid", "dan"):
        store.create_npc(npc_row(name, "scout" if name == "cid" else "guard"), "abc", STATE, ANY)
    assert [row.id for row in store.npcs(NpcFilter(), "amy", 2)] == ["bob", "cid"]
    assert [row.id for row in store.npcs(NpcFilter("guard"), "", 9)] == ["amy", "bob", "dan"]
    assert store.npcs(NpcFilter(), "dan", 9) == []


def test_many_are_read_at_once_and_who_is_not_there_is_left_out(store: Store) -> None:
    store.create_npc(npc_row("amy"), "abc", STATE, ANY)
    store.commit(commit_of(store, "bob"), ANY)
    found = store.states(["bob", "nobody", "amy"])
    assert found == {name: store.state(name) for name in ("amy", "bob")}


def test_a_commit_moves_the_npc_and_keeps_its_clips(store: Store) -> None:
    revision, clips = store.commit(commit_of(store, "bob"), ANY)
    row, acting, state = store.state("bob")
    assert (revision.number, row.revision, row.examples, acting, state) == (2, 2, 5, revision, b"adapted")
    assert row.etag != "first"
    assert [demonstration.id for demonstration in store.demonstrations("bob", "", 9)] == clips
    assert store.demonstration_data("bob", clips[0]) == b"clip"
    assert store.support("bob") == [b"clip"]
    assert [entry.number for entry in store.revisions("bob", 99, 9)] == [2, 1]


def test_support_is_what_the_acting_revision_was_made_of(store: Store) -> None:
    store.commit(commit_of(store, "bob"), ANY)
    stored = store.add_demonstration("bob", b"stored", 3, ANY)
    store.commit(commit_of(store, "bob", clips=(), demonstrations=(("bob", stored.id),)), ANY)
    assert store.support("bob") == [b"clip", b"stored"]
    store.commit(commit_of(store, "bob", clips=((b"fresh", 1),), from_scratch=True), ANY)
    assert store.support("bob") == [b"fresh"]
    store.delete_demonstration("bob", stored.id)
    assert [row.number for row in store.revisions("bob", 99, 9)] == [4, 3, 2, 1]


def test_a_commit_that_fails_leaves_nothing_behind(store: Store) -> None:
    with pytest.raises(ServiceError) as caught:
        store.commit(commit_of(store, "bob", demonstrations=(("bob", "no-such-clip"),)), RequestKey("Adapt:x", "1"))
    assert reason_of(caught) == "DEMONSTRATION_NOT_FOUND"
    assert store.demonstrations("bob", "", 9) == []
    assert (store.npc("bob").revision, len(store.revisions("bob", 99, 9))) == (1, 1)
    assert store.committed("bob", RequestKey("Adapt:x", "1")) is None


def test_a_commit_may_learn_from_anothers_clips_and_loses_them_with_their_owner(store: Store) -> None:
    store.create_npc(npc_row("amy"), "abc", STATE, ANY)
    lent = store.add_demonstration("amy", b"lent", 3, ANY)
    store.commit(commit_of(store, "bob", demonstrations=(("amy", lent.id),)), ANY)
    assert store.support("bob") == [b"lent", b"clip"]
    store.delete_npc("amy", "")
    assert store.support("bob") == [b"clip"]
    assert store.state("bob")[2] == b"adapted"


def test_clips_come_in_pages_oldest_first_and_without_their_data(store: Store) -> None:
    made = [store.add_demonstration("bob", b"%d" % i, i, ANY) for i in range(5)]
    assert store.demonstrations("bob", "", 2) == made[:2]
    assert store.demonstrations("bob", made[1].id, 9) == made[2:]
    store.delete_demonstration("bob", made[1].id)
    assert store.demonstrations("bob", made[1].id, 9) == made[2:]
    with pytest.raises(ServiceError) as caught:
        store.delete_demonstration("bob", made[1].id)
    assert reason_of(caught) == "DEMONSTRATION_NOT_FOUND"


def test_revisions_come_in_pages_newest_first(store: Store) -> None:
    for _ in range(4):
        store.commit(commit_of(store, "bob"), ANY)
    assert [row.number for row in store.revisions("bob", 1 << 62, 2)] == [5, 4]
    assert [row.number for row in store.revisions("bob", 4, 9)] == [3, 2, 1]
    assert store.revisions("bob", 1, 9) == []


def test_a_repeated_clip_that_was_deleted_meanwhile_is_not_made_again(store: Store) -> None:
    key = RequestKey("CreateDemonstration:a", "1")
    made = store.add_demonstration("bob", b"x", 1, key)
    store.delete_demonstration("bob", made.id)
    with pytest.raises(ServiceError) as caught:
        store.add_demonstration("bob", b"x", 1, key)
    assert reason_of(caught) == "DEMONSTRATION_NOT_FOUND"
    assert store.demonstrations("bob", "", 9) == []


def test_a_request_that_failed_may_be_sent_again_with_the_same_id(store: Store) -> None:
    create, adapt = RequestKey("CreateNpc:b", "1"), RequestKey("Adapt:b", "1")
    stale = commit_of(store, "bob", expected_etag="stale")
    for fails in (lambda: store.create_npc(npc_row("bob"), "abc", STATE, create), lambda: store.commit(stale, adapt)):
        with pytest.raises(ServiceError):
            fails()
    assert store.create_npc(npc_row("eve"), "abc", STATE, create)[1]
    assert store.commit(commit_of(store, "bob"), adapt)[0].number == 2


def test_numbers_and_names_beyond_all_bounds_find_nothing(store: Store) -> None:
    for name in ("", "BOB", "bob'; drop table npcs; --", "b\0b", "b" * 100_000, "%", "bo_"):
        with pytest.raises(ServiceError) as caught:
            store.state(name)
        assert reason_of(caught) == "NPC_NOT_FOUND"
        assert store.states([name]) == {}
    assert store.states([]) == {}
    assert store.npcs(NpcFilter("b%"), "", 9) == []


def test_of_two_commits_on_the_same_revision_the_second_is_refused(store: Store) -> None:
    wanted = commit_of(store, "bob")
    store.commit(wanted, ANY)
    with pytest.raises(ServiceError) as caught:
        store.commit(wanted, ANY)
    assert reason_of(caught) == "ETAG_MISMATCH"
    assert store.npc("bob").revision == 2


def test_a_commit_cannot_reach_another_npc_that_got_the_same_name(store: Store) -> None:
    wanted = commit_of(store, "bob")
    store.delete_npc("bob", "")
    store.create_npc(npc_row("bob", etag="second"), "abc", STATE, ANY)
    with pytest.raises(ServiceError) as caught:
        store.commit(wanted, ANY)
    assert reason_of(caught) == "ETAG_MISMATCH"
    assert store.state("bob")[2] == STATE


def test_repeated_requests_get_their_first_answer(store: Store) -> None:
    create = RequestKey("CreateNpc:a", "1")
    first, is_new = store.create_npc(npc_row("eve"), "abc", STATE, create)
    again, is_new_again = store.create_npc(npc_row("eve", etag="other"), "abc", STATE, create)
    assert (first, is_new, is_new_again) == (again, True, False)
    adapt = RequestKey("Adapt:a", "1")
    assert store.commit(commit_of(store, "bob"), adapt) == store.commit(commit_of(store, "bob"), adapt)
    assert store.committed("bob", adapt) is not None
    clip = RequestKey("CreateDemonstration:a", "1")
    assert store.add_demonstration("bob", b"x", 1, clip) == store.add_demonstration("bob", b"x", 1, clip)
    for key in (create, adapt, clip):
        with pytest.raises(ServiceError) as caught:
            store.commit(commit_of(store, "bob"), key._replace(digest="2"))
        assert reason_of(caught) == "REQUEST_ID_REUSED"


def test_deleting_an_npc_deletes_what_belongs_to_it_and_frees_its_name(url: str, store: Store) -> None:
    store.commit(commit_of(store, "bob"), ANY)
    with pytest.raises(ServiceError) as caught:
        store.delete_npc("bob", "first")
    assert reason_of(caught) == "ETAG_MISMATCH"
    store.delete_npc("bob", store.npc("bob").etag)
    for ask in (store.npc, store.state, store.support, lambda npc: store.revisions(npc, 9, 9)):
        with pytest.raises(ServiceError) as caught:
            ask("bob")
        assert reason_of(caught) == "NPC_NOT_FOUND"
    store.create_npc(npc_row("bob"), "abc", STATE, ANY)
    assert store.demonstrations("bob", "", 9) == []
    store.close()
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as raw:
        counts = [
            raw.execute(f"select count(*) from {table}").fetchone()[0] for table in ("revisions", "demonstrations")
        ]
    assert counts == [1, 0]


def test_a_name_is_given_once(store: Store) -> None:
    with pytest.raises(ServiceError) as caught:
        store.create_npc(npc_row("bob"), "abc", STATE, ANY)
    assert reason_of(caught) == "NPC_EXISTS"


def test_a_second_server_is_kept_out(url: str, store: Store) -> None:
    with pytest.raises(StoreError, match="is another server using it"):
        Store(url)
    assert store.npc("bob").id == "bob"


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "npcs.db").write_bytes(content)
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(f"sqlite:///{tmp_path / 'npcs.db'}")
    assert (tmp_path / "npcs.db").read_bytes() == content


def test_other_refusals_to_open(tmp_path: Path, url: str, store: Store) -> None:
    with pytest.raises(StoreError, match="expected sqlite:///FILE"):
        Store("mysql://user:secret@host/db")
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}")
    store.close()
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as raw, raw:
        raw.execute("update schema set version = 99")
    with pytest.raises(StoreError, match="schema version 99"):
        Store(url)


def test_a_refused_url_does_not_show_its_password() -> None:
    with pytest.raises(StoreError) as caught:
        Store("postgresql://user:secret@host/db")
    assert "secret" not in str(caught.value)
