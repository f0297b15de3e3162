"""A database of PostgreSQL that is frozen, or swallowed by the network: nobody waits for it for ever."""

import contextlib
import time
from collections.abc import Iterator
from functools import partial

import pytest

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import RequestKey, Store, patience, postgres
from tests.server.store.postgres import PASSWORD, Cluster
from tests.server.store.rows import ANY, STATE, commit_of, npc_row, reason_of

pytestmark = pytest.mark.postgres


@pytest.fixture
def store(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store with one NPC, bob, that loses its patience soon."""
    for name in ("PING_SECONDS", "ANSWER_SECONDS", "REST_SECONDS"):
        monkeypatch.setattr(patience, name, 1.0)
    monkeypatch.setattr(postgres, "CONNECT_SECONDS", 2)
    with contextlib.closing(Store(cluster.new_database())) as opened:
        opened.create_npc(npc_row("bob"), "abc", STATE, ANY)
        yield opened


def refused(call: partial[object]) -> tuple[str, float]:
    """What a call said that failed, and after how many seconds."""
    began = time.monotonic()
    with pytest.raises(ServiceError, match="try again") as caught:
        call()
    assert reason_of(caught) == "STORE_UNAVAILABLE"
    assert PASSWORD not in caught.value.message
    return caught.value.message, time.monotonic() - began


def test_a_frozen_database_is_not_waited_for_and_found_again_when_it_wakes(store: Store, cluster: Cluster) -> None:
    for number in (2, 3):
        wanted, key = commit_of(store, "bob"), RequestKey(f"Adapt:{number}", "1")
        with cluster.frozen():
            said, seconds = refused(partial(store.commit, wanted, key))
            assert "timeout" in said
            assert seconds < 5  # it is asked whether it is there, and then for a new connection
            said, seconds = refused(partial(store.state, "bob"))
            assert "let others wait in vain" in said
            assert seconds < 0.5  # those who queue behind it are told at once
        time.sleep(patience.REST_SECONDS)
        assert store.npc("bob").revision == number - 1
        assert store.commit(wanted, key).revision.number == number


def test_one_that_freezes_in_a_transaction_may_have_written_it_and_a_retry_counts_once(
    store: Store, cluster: Cluster
) -> None:
    wanted, key = commit_of(store, "bob"), RequestKey("Adapt:frozen", "1")

    def freeze_and_ask(connection: object) -> None:
        with cluster.frozen():
            connection.exec_driver_sql("select 1")  # type: ignore[attr-defined]

    said, seconds = refused(partial(store.do, freeze_and_ask))
    assert "the connection to the store broke: the database has said nothing for 1 seconds" in said
    assert seconds < 3
    assert store.commit(wanted, key) == store.commit(wanted, key)
    assert store.npc("bob").revision == 2


def test_where_one_of_its_processes_is_frozen_another_one_answers(store: Store, cluster: Cluster) -> None:
    with cluster.frozen(everything=False):
        assert store.npc("bob").revision == 1


def test_a_slow_answer_is_waited_for_as_long_as_new_tables_are_made(store: Store) -> None:
    with store._engine.begin() as connection:
        connection.exec_driver_sql("select pg_sleep(0.5)")
    with postgres._preparation(store._engine) as connection:
        connection.exec_driver_sql("select pg_sleep(1.5)")
    said, _ = refused(partial(store.do, lambda connection: connection.exec_driver_sql("select pg_sleep(3)")))
    assert "said nothing" in said
