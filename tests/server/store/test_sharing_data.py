"""Data is kept once however many have it, and is gone with the last of them."""

from npcmeta_server.store import Store
from tests.server.store.conftest import ask
from tests.server.store.rows import ANY, commit_of, npc_row


def kept(url: str, store: Store) -> int:
    """How many pieces of data a closed store keeps."""
    store.close()
    [(count,)] = ask(url, "select count(*) from blobs")
    assert isinstance(count, int)
    return count


def test_equal_clips_and_states_are_one_piece_of_data(url: str, store: Store) -> None:
    for name in ("amy", "cid"):
        clips = ((b"clip", 5), (b"clip", 5))
        store.create_npc(npc_row(name), "abc", b"state", ANY, clips=clips)
        store.commit(commit_of(store, name), ANY)
        assert store.support(name) == [b"clip"] * 3
    assert kept(url, store) == 3  # the first state, the adapted one, the clip


def test_what_others_have_stays_when_one_is_deleted(url: str, store: Store) -> None:
    store.create_npc(npc_row("amy"), "abc", b"of amy alone", ANY, clips=((b"clip", 5), (b"hers", 1)))
    store.commit(commit_of(store, "bob"), ANY)
    store.delete_npc("amy", "")
    assert (store.support("bob"), store.state("bob")[2]) == ([b"clip"], b"adapted")
    assert kept(url, store) == 3


def test_a_clip_and_an_npc_leave_nothing_behind(url: str, store: Store) -> None:
    first, second = (store.add_demonstration("bob", b"twice", 1, ANY) for _ in range(2))
    store.delete_demonstration("bob", first.id)
    assert store.demonstration_data("bob", second.id) == b"twice"
    store.commit(commit_of(store, "bob", clips=tuple((b"%d" % i, 1) for i in range(1200))), ANY)
    store.delete_npc("bob", "")
    assert kept(url, store) == 0
