"""The store: what it acknowledged is there, and what failed left nothing."""

import contextlib

import pytest

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import NpcFilter, RequestKey, Store, npcs
from tests.server.store.conftest import ask
from tests.server.store.rows import ANY, STATE, commit_of, npc_row, reason_of


def test_an_npc_comes_back_as_it_was_made_after_the_store_was_opened_again(url: str, store: Store) -> None:
    made = store.npc("bob")
    assert made.seed == (1 << 64) - 1
    store.close()
    with contextlib.closing(Store(url)) as again:
        row, revision, state = again.state("bob")
    assert row == made
    assert (revision.number, revision.examples, state) == (1, 0, STATE)


def test_pages_go_on_behind_a_name_and_know_their_archetype(store: Store) -> None:
    for name in ("amy", "cid", "dan"):
        store.create_npc(npc_row(name, "scout" if name == "cid" else "guard"), "abc", STATE, ANY)
    assert [row.id for row in store.npcs(NpcFilter(), "amy", 2)[0]] == ["bob", "cid"]
    assert [row.id for row in store.npcs(NpcFilter("guard"), "", 9)[0]] == ["amy", "bob", "dan"]
    assert store.npcs(NpcFilter(), "dan", 9) == ([], "")


def test_a_filter_looks_at_a_bounded_number_of_npcs_and_says_where_to_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npcs, "LOOKED_AT", 3)
    for i in range(10):
        row = npc_row(f"n{i}", "scout" if i % 2 else "guard")._replace(display_name="x" * (i in (1, 7)))
        store.create_npc(row, "abc", STATE, ANY)
    for wanted, found in (
        (NpcFilter(text="X"), ["n1", "n7"]),
        (NpcFilter("guard", text="n"), ["n0", "n2", "n4", "n6", "n8"]),
        (NpcFilter(min_examples=1), []),
        (NpcFilter("scout"), ["n1", "n3", "n5", "n7", "n9"]),
    ):
        listed, after, pages = [], "", 0
        while True:
            rows, after = store.npcs(wanted, after, 2)
            listed, pages = listed + [row.id for row in rows], pages + 1
            if not after:
                break
        assert listed == found
        assert pages <= 6


def test_many_are_read_at_once_and_who_is_not_there_is_left_out(store: Store) -> None:
    store.create_npc(npc_row("amy"), "abc", STATE, ANY)
    store.commit(commit_of(store, "bob"), ANY)
    found = store.states(["bob", "nobody", "amy"])
    assert found == {name: store.state(name) for name in ("amy", "bob")}


def test_a_commit_moves_the_npc_and_keeps_its_clips(store: Store) -> None:
    revision, clips, left_out = store.commit(commit_of(store, "bob"), ANY)
    row, acting, state = store.state("bob")
    assert (revision.number, row.revision, row.examples, acting, state) == (2, 2, 5, revision, b"adapted")
    assert row.etag != "first"
    assert left_out == []
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


def test_clips_that_came_too_late_for_a_revision_are_kept_beside_it(store: Store) -> None:
    named = store.add_demonstration("bob", b"named", 3, ANY)
    late = {"late_clips": ((b"late", 7),), "late_demonstrations": (("bob", named.id),)}
    request = RequestKey("Adapt:late", "1")
    done = store.commit(commit_of(store, "bob", **late), request)
    assert store.support("bob") == [b"clip"]
    assert [store.demonstration_data("bob", each) for each in done.clips] == [b"clip", b"late"]
    assert done.left_out == [("bob", named.id), ("bob", done.clips[1])]
    assert store.committed("bob", request) == done
    store.commit(commit_of(store, "bob", clips=(), demonstrations=tuple(done.left_out)), ANY)
    assert store.support("bob") == [b"named", b"clip", b"late"]


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


@pytest.mark.parametrize("name", ["", "BOB", "bob'; drop table npcs; --", "b\0b", "b" * 100_000, "%", "bo_"])
def test_names_beyond_all_bounds_find_nothing(store: Store, name: str) -> None:
    for ask_for in (store.state, lambda wanted: store.states([wanted])["bob"]):
        with pytest.raises((ServiceError, KeyError)) as caught:
            ask_for(name)
        # PostgreSQL keeps no text with a zero in it.
        assert isinstance(caught.value, KeyError) or caught.value.reason in ("NPC_NOT_FOUND", "INVALID_ARGUMENT")
    assert store.states([]) == {}
    assert store.npcs(NpcFilter("b%"), "", 9) == ([], "")


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


def test_deleting_an_npc_deletes_what_belongs_to_it_and_frees_its_name(url: str, store: Store) -> None:
    store.commit(commit_of(store, "bob"), ANY)
    with pytest.raises(ServiceError) as caught:
        store.delete_npc("bob", "first")
    assert reason_of(caught) == "ETAG_MISMATCH"
    store.delete_npc("bob", store.npc("bob").etag)
    for ask_for in (store.npc, store.state, store.support, lambda npc: store.revisions(npc, 9, 9)):
        with pytest.raises(ServiceError) as caught:
            ask_for("bob")
        assert reason_of(caught) == "NPC_NOT_FOUND"
    store.create_npc(npc_row("bob"), "abc", STATE, ANY)
    assert store.demonstrations("bob", "", 9) == []
    store.close()
    counts = [ask(url, f"select count(*) from {table}") for table in ("revisions", "demonstrations")]
    assert counts == [[(1,)], [(0,)]]


def test_a_name_is_given_once(store: Store) -> None:
    with pytest.raises(ServiceError) as caught:
        store.create_npc(npc_row("bob"), "abc", STATE, ANY)
    assert reason_of(caught) == "NPC_EXISTS"


def test_a_demonstration_counts_once_among_the_examples_of_a_revision(store: Store) -> None:
    stored = ("bob", store.add_demonstration("bob", b"stored", 3, ANY).id)
    with pytest.raises(ServiceError, match=r"^npcs/bob/demonstrations/.* already, nothing was changed"):
        store.commit(commit_of(store, "bob", demonstrations=(stored, stored)), ANY)
    store.commit(commit_of(store, "bob", clips=(), demonstrations=(stored,)), ANY)
    with pytest.raises(ServiceError, match="or adapt from_scratch"):
        store.commit(commit_of(store, "bob", clips=(), demonstrations=(stored,)), ANY)
    store.commit(commit_of(store, "bob", clips=(), demonstrations=(stored,), from_scratch=True), ANY)
    assert store.support("bob") == [b"stored"]


def test_thousands_of_clips_behind_one_revision_are_found_in_order(store: Store) -> None:
    clips = tuple((b"%d" % i, 1) for i in range(3_000))
    store.commit(commit_of(store, "bob", clips=clips, from_scratch=True), ANY)
    assert store.support("bob") == [data for data, _ in clips]


def test_texts_are_found_alike_in_every_database(store: Store) -> None:
    for name, shown in (("amy", "100% Bob"), ("cid", "Bob_2"), ("dan", "ÄRGER"), ("eve", "bOB")):
        store.create_npc(npc_row(name)._replace(display_name=shown), "abc", STATE, ANY)
    wanted = {"bob": ["amy", "bob", "cid", "eve"], "B_": ["cid"], "o_": [], "0%": ["amy"], "Ä": ["dan"], "ä": []}
    for text, found in wanted.items():
        assert [row.id for row in store.npcs(NpcFilter(text=text), "", 9)[0]] == found, text
