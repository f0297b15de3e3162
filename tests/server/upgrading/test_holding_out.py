"""Examples that are held out: the last ones, whole clips where that is fair, and nothing is lost or seen twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcmeta_server.clips import Clip
from npcmeta_server.upgrading.holding_out import split


def timeline(*rows: int) -> list[Clip]:
    """Clips whose weights number the examples."""
    starts = np.cumsum((0, *rows))
    return [
        Clip(
            np.zeros((n, 3), np.float32),
            np.zeros((n, 0), np.float32),
            np.zeros((n, 2), np.int64),
            np.ones((n, 5), bool),
            np.arange(start, start + n, dtype=np.float32),
        )
        for start, n in zip(starts, rows, strict=False)
    ]


def sizes(parts: tuple[list[Clip], list[Clip]] | None) -> tuple[list[int], list[int]]:
    assert parts is not None
    first, second = ([clip.examples for clip in part] for part in parts)
    return first, second


@pytest.mark.parametrize(
    ("rows", "shown", "held_out"),
    [
        ((50,), [40], [10]),
        ((2,), [1], [1]),
        ((50, 50, 50), [50, 50], [50]),
        ((50, 10, 5, 5), [50], [10, 5, 5]),
        ((10, 50), [10, 38], [12]),
        ((5, 1), [5], [1]),
        ((3, 1, 1, 20), [3, 1, 1, 15], [5]),
    ],
)
def test_whole_clips_are_held_out_unless_that_would_be_too_much(
    rows: tuple[int, ...], shown: list[int], held_out: list[int]
) -> None:
    assert sizes(split(timeline(*rows))) == (shown, held_out)


def test_one_example_cannot_be_split() -> None:
    assert split(timeline(1)) is split([]) is None


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6).filter(lambda rows: sum(rows) > 1))
def test_both_parts_are_the_timeline_in_order_and_most_of_it_is_shown(rows: list[int]) -> None:
    parts = split(timeline(*rows))
    assert parts is not None
    shown, held_out = (np.concatenate([clip.weights for clip in part]) for part in parts)
    assert np.concatenate([shown, held_out]).tolist() == list(range(sum(rows)))
    assert 1 <= len(held_out) <= sum(rows) / 2
