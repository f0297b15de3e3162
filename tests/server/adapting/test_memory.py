"""The memory of lessons: counted to the byte, refused as a whole, and given back as a whole."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcmeta_server.adapting.memory import BYTES_OF_A_CLIP, LessonMemory
from npcmeta_server.errors import ServiceError
from tests.server.adapting.test_worker import clip


def test_a_clip_counts_twice_with_all_of_its_arrays() -> None:
    memory, shown = LessonMemory(1 << 20), clip(7)
    assert shown.nbytes == sum(array.size * array.itemsize for array in shown) > 0
    with memory.share("game") as share:
        share.take_clips([shown, clip(0)])
        assert memory.held == 2 * shown.nbytes + 2 * BYTES_OF_A_CLIP


def test_what_does_not_fit_is_refused_and_nothing_of_it_is_held() -> None:
    memory = LessonMemory(200)
    with memory.share("game") as first, memory.share("game") as second:
        first.take(60)
        with pytest.raises(
            ServiceError, match=r"41 bytes of examples on top of the 60 .* at most 100 together"
        ) as caught:
            second.take(41)
        assert (caught.value.reason, caught.value.metadata) == ("TOO_MANY", {"limit": "100"})
        assert "--lesson-mebibytes" in caught.value.message
        second.take(40)
        assert memory.held == 100
    assert memory.held == 0


def test_a_share_is_given_back_alone_and_whatever_happens() -> None:
    memory = LessonMemory(200)
    with memory.share("game") as other:
        other.take(10)
        with contextlib.suppress(KeyError), memory.share("game") as share:
            share.take(20)
            share.take(30)
            raise KeyError
        assert memory.held == 10
    assert not memory.held_by  # nobody who is gone is remembered


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 400)), max_size=40))
def test_whatever_clients_take_there_is_room_for_one_who_comes(wanted: list[tuple[int, int]]) -> None:
    memory = LessonMemory(1000)
    with contextlib.ExitStack() as under_way:
        for client, size in wanted:
            with contextlib.suppress(ServiceError):
                under_way.enter_context(memory.share(str(client))).take(size)
        assert memory.held <= 1000
        for client, _ in wanted:
            under_way.enter_context(memory.share(str(client))).take(0)  # who holds more than is theirs by now may go on
        newcomer = under_way.enter_context(memory.share("newcomer"))
        newcomer.take((1000 - memory.held) // 2)
        with pytest.raises(ServiceError):
            newcomer.take(1)


def test_clients_that_take_all_they_can_get_end_with_equal_parts() -> None:
    memory, clients = LessonMemory(1000), ("amy", "bob", "eve")
    with contextlib.ExitStack() as under_way:
        for _ in range(1000):
            for client in clients:
                with contextlib.suppress(ServiceError):
                    under_way.enter_context(memory.share(client)).take(1)
        assert memory.held_by == dict.fromkeys(clients, 250)
