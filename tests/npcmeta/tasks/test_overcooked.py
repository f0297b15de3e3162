"""People playing Overcooked: what they see, who is held out, and that nothing in their files is ever run."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from npcmeta.tasks import overcooked
from npcmeta.tasks.overcooked import trials
from npcmeta.tasks.overcooked.features import features
from npcmeta.tasks.overcooked.trials import Trial

pytestmark = pytest.mark.xdist_group("overcooked")  # one process converts the trials, once
NEEDS_PACKAGE = pytest.mark.skipif(
    importlib.util.find_spec("overcooked_ai_py") is None,
    reason="needs the extra overcooked, which scripts/test installs",
)
ROOM = ("XXPXX", "O  2O", "X1  X", "XDXSX")
UP, RIGHT, STAY, INTERACT = 0, 2, 4, 5
STATE = {
    "players": [
        {"position": [1, 2], "orientation": [0, -1], "held_object": {"name": "onion", "position": [1, 2]}},
        {"position": [1, 1], "orientation": [1, 0]},
    ],
    "objects": {
        "(2, 0)": {"name": "soup", "position": [2, 0], "state": ["onion", 2, 0]},
        "(0, 2)": {"name": "onion", "position": [0, 2]},
        "(4, 2)": {"name": "dish", "position": [4, 2]},
    },
    "pot_explosion": False,
}


def seen(state: dict = STATE, actions: tuple[tuple[int, int], ...] = ((INTERACT, RIGHT),)) -> np.ndarray:
    """What both players see at every tick of a small kitchen."""
    return features(Trial(0, 1, 2, ROOM, [str(state)] * len(actions), np.array(actions)))


def test_a_scene_is_seen_as_counted_by_hand() -> None:
    row = seen()[0, 0]
    expected = [
        *[0, 1, 0, 0], *[1, 0, 0, 0],  # holds an onion, faces up
        *[1, 0, 0, 0], *[0, 0, 1, 0],  # the partner holds nothing and faces right
        *[0, -0.2], 1, *[1 / 8, 2 / 5],  # the partner is one cell above
        *[0, 0, 0, 0, 0, 1], 1, 0,  # above, a floor with the partner on it
        *[0, 0, 0, 1, 0, 0], 0, 0,  # below, the dishes
        *[0, 0, 0, 0, 0, 1], 0, 0,  # to the right, a floor
        *[1, 0, 0, 0, 0, 0], 0, 1,  # to the left, a counter with an onion on it
        *[-0.2, -0.2, 1], *[0.4, 0.2, 1], *[0, 0.2, 1],  # the nearest onions, serving counter and dishes
        *[0, 0, 0], *[0.2, -0.4, 1], *[0, 0, 0], *[0, 0, 0],  # pots: the only one is partly filled
        *[-0.2, 0, 1], *[0.6, 0, 1],  # an onion and a dish on counters
        *[0, 0, 1, 0, 0],  # the third layout
        *[0, 0, 0, 0, 1, 0],  # before the first tick everybody stayed
    ]  # fmt: skip
    np.testing.assert_array_equal(row, np.array(expected, dtype=np.float32))


def test_the_other_player_sees_the_same_scene_from_the_other_side() -> None:
    one, other = seen()[0]
    assert one[:8].tolist() == other[8:16].tolist()
    assert one[16:18].tolist() == (-other[16:18]).tolist()


def test_ones_own_last_action_is_seen_and_not_the_current_one() -> None:
    rows = seen(actions=((INTERACT, RIGHT), (UP, UP), (STAY, INTERACT)))
    assert rows[:, 0, -6:].argmax(-1).tolist() == [STAY, INTERACT, UP]
    assert rows[:, 1, -6:].argmax(-1).tolist() == [STAY, RIGHT, UP]


@pytest.mark.parametrize(
    ("soup", "place"), [(None, 62), (["onion", 1, 0], 65), (["onion", 3, 19], 68), (["onion", 3, 20], 71)]
)
def test_a_pot_is_empty_partly_filled_cooking_or_ready(soup: list | None, place: int) -> None:
    objects = {"pot": {"name": "soup", "position": [2, 0], "state": soup}} if soup else {}
    row = seen(STATE | {"objects": objects})[0, 0]
    exists = row[[64, 67, 70, 73]]
    assert exists.tolist() == [float(place == start) for start in (62, 65, 68, 71)]
    assert row[place : place + 2].tolist() == pytest.approx([0.2, -0.4])


def run(function: Callable, *arguments: str) -> bytes:
    class Attack:
        def __reduce__(self) -> tuple:
            return function, arguments

    return pickle.dumps(Attack())


@pytest.mark.parametrize("attack", [run(os.mkdir, "was-run"), run(eval, "__import__('os').mkdir('was-run')")])
def test_a_pickle_that_wants_to_run_something_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match="is no part of a table of trials"):
        trials._Parts(io.BytesIO(attack)).load()
    file = tmp_path / next(iter(trials.FILES))
    file.write_bytes(attack)
    with pytest.raises(ValueError, match=r"not the file of overcooked-ai 1\.1\.0: pip install"):
        trials._table(file)
    assert not (tmp_path / "was-run").exists()


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'npcmeta\[overcooked\]'"):
        trials.read_trials()


def small_play() -> overcooked.Play:
    """Seven pairs on one layout; the last was too short there."""
    parts = [(pair, seat) for pair in range(7) for seat in (0, 1)]
    who = np.concatenate([np.tile([0, pair, seat], (999 if pair == 6 else 1000, 1)) for pair, seat in parts])
    count = len(who)
    return overcooked.Play(
        np.zeros((count, 91), dtype=np.float32), np.zeros(count, dtype=np.int64), who, np.full(count, 2)
    )


def test_a_task_is_a_player_on_a_layout_with_a_thousand_steps() -> None:
    assert overcooked.family(small_play(), [6, 1]).ids == ("pair01-seat0-cramped_room", "pair01-seat1-cramped_room")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("overcooked")
    overcooked.load(folder)
    return folder


@NEEDS_PACKAGE
def test_the_features_are_those_of_the_published_tables_to_the_bit(cache: Path) -> None:
    play = overcooked.load(cache)
    digests = [hashlib.sha256(np.ascontiguousarray(part).tobytes()).hexdigest()[:16] for part in play[:2]]
    assert play.observation.shape == (182_204, 91)
    assert digests == ["3656e7e86cffe7c4", "626ed8697ad7152a"]


@NEEDS_PACKAGE
def test_six_pairs_are_held_out_whole_and_one_validates(cache: Path) -> None:
    found = overcooked.splits(0, cache)
    assert found.summary["pairs"]["test"] == [3, 16, 4, 17, 1, 10]
    assert found.summary["pairs"]["validation"] == [22]
    assert [len(found.summary[part]) for part in ("train", "validation", "test")] == [86, 10, 56]
    pairs = [{name[:6] for name in found.summary[part]} for part in ("train", "validation", "test")]
    assert [len(pair) for pair in pairs] == [10, 1, 6]
    assert len(set.union(*pairs)) == 17


@NEEDS_PACKAGE
def test_a_damaged_cache_is_made_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = cache / overcooked.CACHE
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 100] = bytes(100)
    file.write_bytes(data)
    again = small_play()
    monkeypatch.setattr(overcooked, "convert", lambda progress: again)
    assert overcooked.load(cache) is again
    assert len(overcooked.load(cache).action) == len(again.action)
