"""The memory of lessons: counted to the byte, refused as a whole, and given back as a whole."""

import contextlib

import pytest

from npcmeta_server.adapting.memory import BYTES_OF_A_CLIP, LessonMemory
from npcmeta_server.errors import ServiceError
from tests.server.adapting.test_worker import clip


def test_a_clip_counts_twice_with_all_of_its_arrays() -> None:
    memory, shown = LessonMemory(1 << 20), clip(7)
    assert shown.nbytes == sum(array.size * array.itemsize for array in shown) > 0
    with memory.share() as share:
        share.take_clips([shown, clip(0)])
        assert memory.held == 2 * shown.nbytes + 2 * BYTES_OF_A_CLIP


def test_what_does_not_fit_is_refused_and_nothing_of_it_is_held() -> None:
    memory = LessonMemory(100)
    with memory.share() as first, memory.share() as second:
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
    memory = LessonMemory(100)
    with memory.share() as other:
        other.take(10)
        with contextlib.suppress(KeyError), memory.share() as share:
            share.take(20)
            share.take(30)
            raise KeyError
        assert memory.held == 10
