"""An archetype is retired only if no NPC acts with it, and then gets none, whatever is under way on other servers."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import RequestKey, Store, archetypes, copies, retiring
from tests.server.store.postgres import Cluster
from tests.server.store.rows import ANY, STATE, npc_row, reason_of

WAITING = "select count(*) from pg_locks where not granted"


def offer(store: Store) -> None:
    store.do(archetypes.keep, "scout", "abc", b"file", current=True, request=ANY)


def make(store: Store) -> object:
    return store.create_npc(npc_row("eve", "scout"), "abc", STATE, ANY)


def retire(store: Store, revision: str = "", request: RequestKey = ANY) -> None:
    store.do(retiring.retire, "scout", revision, request)


def test_what_npcs_act_with_stays_and_what_was_retired_gets_none(store: Store) -> None:
    offer(store)
    make(store)
    for revision in ("", "abc"):
        with pytest.raises(ServiceError, match="1 NPCs act with it") as caught:
            retire(store, revision)
        assert reason_of(caught) == "ARCHETYPE_IN_USE"
    store.delete_npc("eve", "")
    retire(store, "abc")
    make(store)  # a revision alone that was retired is loaded again for whoever needs it
    store.delete_npc("eve", "")
    retire(store)
    with pytest.raises(ServiceError, match="scout was retired; upload it again") as caught:
        make(store)
    assert reason_of(caught) == "ARCHETYPE_NOT_FOUND"
    offer(store)
    make(store)


def test_a_retry_that_comes_late_retires_nothing_that_was_offered_since(store: Store) -> None:
    request = RequestKey("RetireArchetype:once", "scout")
    offer(store)
    retire(store, request=request)
    offer(store)
    retire(store, request=request)
    make(store)


@pytest.fixture
def pair(cluster: Cluster) -> Iterator[tuple[Store, Store]]:
    """Two servers' stores, and an archetype."""
    url = cluster.new_database()
    with contextlib.closing(Store(url)) as first, contextlib.closing(Store(url)) as second:
        offer(first)
        yield first, second


class Paused:
    """Something that a transaction calls, which waits until it may go on."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.there, self.go_on = threading.Event(), threading.Event()

    def __call__(self, *arguments: Any) -> Any:
        self.there.set()
        assert self.go_on.wait(60)
        return self._function(*arguments)


def while_paused(
    cluster: Cluster, paused: Paused, first: Callable[[], object], then: Callable[[], object]
) -> list[Future[object]]:
    """Makes a call, and another one in the middle of it; the first goes on when that waits for it, or has ended."""
    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(first)]
        assert paused.there.wait(60)
        calls.append(threads.submit(then))
        while not calls[1].done() and cluster.execute(WAITING) == [(0,)]:
            pass
        paused.go_on.set()
    return calls


@pytest.mark.postgres
def test_an_npc_that_another_server_is_making_keeps_its_archetype(
    pair: tuple[Store, Store], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    paused = Paused(copies.write_sources)
    monkeypatch.setattr(copies, "write_sources", paused)
    made, retired = while_paused(cluster, paused, lambda: make(second), lambda: retire(first))
    assert made.exception() is None
    assert getattr(retired.exception(), "reason", None) == "ARCHETYPE_IN_USE"


@pytest.mark.postgres
def test_an_archetype_that_another_server_is_retiring_gets_no_npc(
    pair: tuple[Store, Store], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    paused = Paused(archetypes.counts)
    monkeypatch.setattr(archetypes, "counts", paused)
    retired, made = while_paused(cluster, paused, lambda: retire(first), lambda: make(second))
    assert retired.exception() is None
    assert getattr(made.exception(), "reason", None) == "ARCHETYPE_NOT_FOUND"
