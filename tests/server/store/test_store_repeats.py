"""Requests that come again get their first answer, and only that."""

import pytest

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import RequestKey, Store, requests
from tests.server.store.conftest import ask
from tests.server.store.rows import ANY, STATE, commit_of, npc_row, reason_of


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


def test_a_retry_does_not_get_what_a_later_npc_of_the_same_name_has(store: Store) -> None:
    create, adapt = RequestKey("CreateNpc:a", "1"), RequestKey("Adapt:a", "1")
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


def test_requests_are_forgotten_after_a_day_and_beyond_a_number(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monday = RequestKey("Clip:monday", "1")
    first = store.add_demonstration("bob", b"x", 1, monday)
    with monkeypatch.context() as patched:
        patched.setattr(requests, "REQUEST_SECONDS", -1)  # the day is over
        assert store.add_demonstration("bob", b"x", 1, monday) != first
        for number in range(2 * requests.FORGET_EVERY):
            store.add_demonstration("bob", b"x", 1, RequestKey(f"Clip:{number}", "1"))
    monkeypatch.setattr(requests, "MAX_REQUESTS", 40)
    for number in range(requests.FORGET_EVERY):
        store.add_demonstration("bob", b"x", 1, RequestKey(f"Clip:later-{number}", "1"))
    newest = RequestKey(f"Clip:later-{requests.FORGET_EVERY - 1}", "1")
    assert store.add_demonstration("bob", b"x", 1, newest) == store.add_demonstration("bob", b"x", 1, newest)
    store.close()
    [(count,)] = ask(url, "select count(*) from requests")
    assert isinstance(count, int)
    assert count < 40 + requests.FORGET_EVERY
