"""Two servers on one database: nothing is lost between them, whoever is quicker."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import pytest
from sqlalchemy import event

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import DemonstrationRow, RequestKey, Store, StoreError, archetypes, postgres
from tests.server.store.postgres import PASSWORD, Cluster
from tests.server.store.rows import ANY, STATE, commit_of, npc_row, reason_of

pytestmark = pytest.mark.postgres
ROUNDS = 20
KILL = (
    "select pg_terminate_backend(pid) from pg_stat_activity "
    "where pid <> pg_backend_pid() and backend_type = 'client backend'"
)


@pytest.fixture
def pair(cluster: Cluster) -> Iterator[tuple[Store, Store]]:
    """Two servers' stores, and one NPC, bob."""
    url = cluster.new_database()
    with contextlib.closing(Store(url)) as first, contextlib.closing(Store(url)) as second:
        first.create_npc(npc_row("bob"), "abc", STATE, ANY)
        yield first, second


def at_once(*calls: Callable[[], object]) -> list[object]:
    """What calls gave that were made at the same time; a refusal as its reason."""

    def ended(call: Callable[[], object]) -> object:
        try:
            return call()
        except ServiceError as error:
            return error.reason

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(ended, calls))


def test_what_one_wrote_the_other_reads(pair: tuple[Store, Store]) -> None:
    first, second = pair
    revision, clips, _ = first.commit(commit_of(first, "bob"), ANY)
    assert second.state("bob") == first.state("bob")
    assert second.acting(["bob", "nobody"]) == {"bob": revision.create_time}
    assert second.demonstration_data("bob", clips[0]) == b"clip"
    second.delete_npc("bob", "")
    assert first.acting(["bob"]) == {}


def test_of_commits_on_one_revision_one_is_made_and_the_other_told(pair: tuple[Store, Store]) -> None:
    first, second = pair
    for number in range(2, 2 + ROUNDS):
        wanted = commit_of(first, "bob", clips=((b"%d" % number, 1),))
        ends = at_once(*(partial(s.commit, wanted, ANY) for s in pair))
        assert ends.count("ETAG_MISMATCH") == 1
        assert first.npc("bob").revision == second.npc("bob").revision == number
    assert len(first.support("bob")) == ROUNDS


def test_a_request_that_reaches_both_is_done_once(pair: tuple[Store, Store]) -> None:
    first, second = pair
    for number in range(ROUNDS):
        create, adapt, clip = (RequestKey(f"{method}:{number}", "1") for method in ("CreateNpc", "Adapt", "Clip"))
        name = f"npc-{number}"
        made = at_once(*(partial(s.create_npc, npc_row(name), "abc", STATE, create) for s in pair))
        assert sorted(is_new for _, is_new in made) == [False, True]
        wanted = commit_of(first, name)
        one, other = at_once(*(partial(s.commit, wanted, adapt) for s in pair))
        assert one == other
        one, other = at_once(*(partial(s.add_demonstration, name, b"x", 1, clip) for s in pair))
        assert one == other
        assert len(second.demonstrations(name, "", 9)) == 2


def test_a_name_is_given_once_though_two_ask_for_it(pair: tuple[Store, Store]) -> None:
    for number in range(ROUNDS):
        row = npc_row(f"npc-{number}")
        ends = at_once(*(partial(s.create_npc, row, "abc", STATE, ANY) for s in pair))
        assert ends.count("NPC_EXISTS") == 1


def test_a_commit_beside_a_delete_is_whole_or_not_there(pair: tuple[Store, Store]) -> None:
    first, second = pair
    for number in range(ROUNDS):
        name = f"npc-{number}"
        first.create_npc(npc_row(name), "abc", STATE, ANY)
        wanted = commit_of(first, name)
        end, _ = at_once(partial(first.commit, wanted, ANY), partial(second.delete_npc, name, ""))
        assert end in ("NPC_NOT_FOUND", "ETAG_MISMATCH") or isinstance(end, tuple)
        with pytest.raises(ServiceError) as caught:
            second.state(name)
        assert reason_of(caught) == "NPC_NOT_FOUND"


def test_an_npc_is_made_with_the_revision_that_new_ones_get_by_now(pair: tuple[Store, Store]) -> None:
    first, second = pair
    first.do(archetypes.keep, "guard", "old", b"file", current=True, request=ANY)
    assert second.create_npc(npc_row("amy"), "old", STATE, ANY, current=True)[1]
    first.do(archetypes.make_current, "guard", "new")
    with pytest.raises(ServiceError, match="another server") as caught:
        second.create_npc(npc_row("cid"), "old", STATE, ANY, current=True)
    assert reason_of(caught) == "REVISION_UNAVAILABLE"
    assert second.create_npc(npc_row("cid"), "old", STATE, ANY)[1]  # a clone, for example


def test_neither_a_wrong_password_nor_a_right_one_is_shown(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    for url in (cluster.url().replace(PASSWORD, PASSWORD + "-wrong"), cluster.url("no_such_database")):
        with pytest.raises(StoreError, match="cannot be opened") as caught:
            Store(url)
        assert PASSWORD not in str(caught.value) + repr(caught.value.__cause__)
        assert "***" in str(caught.value)
    assert PASSWORD not in "".join(capfd.readouterr())


def test_a_database_that_starts_anew_is_found_again_and_has_everything(cluster: Cluster) -> None:
    with contextlib.closing(Store(cluster.new_database())) as store:
        store.create_npc(npc_row("bob"), "abc", STATE, ANY)
        for number in range(2, 5):
            store.commit(commit_of(store, "bob"), ANY)
            wanted = commit_of(store, "bob")
            cluster.stop()
            try:
                for call in (partial(store.commit, wanted, ANY), partial(store.state, "bob")):
                    with pytest.raises(ServiceError, match=r"the (store failed|connection).*try again") as caught:
                        call()
                    assert reason_of(caught) == "STORE_UNAVAILABLE"
                    assert PASSWORD not in caught.value.message
            finally:
                cluster.start()
            assert store.npc("bob").revision == number
            cluster.stop()
            cluster.start()
            assert store.state("bob")[2] == b"adapted"


def test_rows_that_somebody_holds_are_an_error_after_a_while_and_work_when_let_go(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "SILENT_SECONDS", 1)
    url = cluster.new_database()
    with contextlib.closing(Store(url)) as store:
        store.create_npc(npc_row("bob"), "abc", STATE, ANY)
        wanted = commit_of(store, "bob")
        with psycopg.connect(url.replace("+psycopg", "")) as other:
            other.execute("lock table npcs in share mode")
            with pytest.raises(ServiceError, match=r"lock timeout; nothing was changed, try again") as caught:
                store.commit(wanted, ANY)
            assert reason_of(caught) == "STORE_UNAVAILABLE"
            assert store.npc("bob").revision == 1
        assert store.commit(wanted, ANY).revision.number == 2


def test_of_commits_that_wait_together_only_those_fail_whose_rows_somebody_holds(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "SILENT_SECONDS", 1)
    url = cluster.new_database()
    with contextlib.closing(Store(url)) as store:
        for name in ("amy", "bob", "cid"):
            store.create_npc(npc_row(name), "abc", STATE, ANY)
        commits = [(commit_of(store, name), ANY) for name in ("amy", "bob", "cid")]
        commits.append((commits[0][0], RequestKey("Adapt:\0", "1")))
        with psycopg.connect(url.replace("+psycopg", "")) as other:
            other.execute("select * from npcs where id = 'bob' for update")
            amy, bob, cid, zero = store.commit_all(commits)
        assert isinstance(amy, tuple)
        assert isinstance(bob, ServiceError)
        assert isinstance(cid, tuple)
        assert isinstance(zero, ServiceError)
        assert (bob.reason, zero.reason) == ("STORE_UNAVAILABLE", "INVALID_ARGUMENT")
        assert [store.npc(name).revision for name in ("amy", "bob", "cid")] == [2, 1, 2]


def test_where_the_connection_broke_all_that_waited_are_told_to_try_again(cluster: Cluster) -> None:
    url = cluster.new_database()
    with contextlib.closing(Store(url)) as store:
        for name in ("amy", "bob"):
            store.create_npc(npc_row(name), "abc", STATE, ANY)
        commits = [(commit_of(store, name), ANY) for name in ("amy", "bob")]
        event.listen(store._engine, "savepoint", lambda *_: cluster.execute(KILL))
        ends = store.commit_all(commits)
        for end in ends:
            assert isinstance(end, ServiceError)
            assert "the connection to the store broke" in end.message
        assert [store.npc(name).revision for name in ("amy", "bob")] == [1, 1]


def test_data_that_one_gets_while_the_other_deletes_its_last_owner_is_there(pair: tuple[Store, Store]) -> None:
    first, second = pair
    for number in range(ROUNDS):
        data = b"clip %d" % number
        last = first.add_demonstration("bob", data, 1, ANY)
        _, kept = at_once(
            partial(first.delete_demonstration, "bob", last.id), partial(second.add_demonstration, "bob", data, 1, ANY)
        )
        assert isinstance(kept, DemonstrationRow)
        assert first.demonstration_data("bob", kept.id) == data
