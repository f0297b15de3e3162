"""Real people playing Overcooked in pairs: a task is one player on one layout.

Source: Carroll et al. 2019, "On the Utility of Learning about Humans for Human-AI Coordination"; the human-human trials
that come with the package overcooked-ai 1.1.0: 17 pairs, 5 layouts, 91,102 joint steps of 150 ms.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from npcmeta.archives import UNREADABLE
from npcmeta.recordings.npz_writer import write_arrays
from npcmeta.recordings.recording import Recording, unmasked
from npcmeta.tasks.overcooked.features import SIZE, features
from npcmeta.tasks.overcooked.trials import LAYOUTS, read_trials
from npcmeta.tasks.timelines import TimelineFamily
from npcmeta.types import ActionSpec, BehaviorSpec, TaskSplits

SPEC = BehaviorSpec(SIZE, ActionSpec(0, (6,)), 1 / 0.15)
HELD_OUT_PAIRS = 6
MIN_STEPS = 1000
CACHE = "overcooked-1.1.0-features-1.npz"
"""The last number rises when the features change."""


class Play(NamedTuple):
    """Everybody's play, a row for each player and tick; the two players of a tick stand together."""

    observation: NDArray[np.float32]  # [R, 91]
    action: NDArray[np.int64]  # [R]: up, down, right, left, stay, interact
    who: NDArray[np.int64]  # [R, 3]: file, pair, seat
    layout: NDArray[np.int64]  # [R], index into LAYOUTS


def splits(split: int, cache: Path | None = None) -> TaskSplits:
    """Six of the 17 pairs are for testing and one for validation, drawn by `split`; the other ten are for training.

    Args:
        split: Seeds the order of the pairs.
        cache: Folder for the converted trials; see `load`.

    Raises:
        ModuleNotFoundError: If the package overcooked-ai is not installed.
    """
    play = load(cache)
    pairs = np.unique(play.who[:, 1]).tolist()
    np.random.default_rng(split).shuffle(pairs)
    parts = {"train": pairs[HELD_OUT_PAIRS:-1], "validation": pairs[-1:], "test": pairs[:HELD_OUT_PAIRS]}
    families = {name: family(play, members) for name, members in parts.items()}
    summary = {"split": split, "pairs": parts} | {name: list(family.ids) for name, family in families.items()}
    return TaskSplits(**families, summary=summary)


def family(play: Play, pairs: list[int]) -> TimelineFamily:
    """The players of some pairs, on every layout where they played 1000 steps or more."""
    recordings = {}
    for pair in sorted(pairs):
        for seat in (0, 1):
            for layout, name in enumerate(LAYOUTS):
                rows = (play.who[:, 1] == pair) & (play.who[:, 2] == seat) & (play.layout == layout)
                if rows.sum() >= MIN_STEPS:
                    recordings[f"pair{pair:02d}-seat{seat}-{name}"] = _recording(play, rows)
    return TimelineFamily(SPEC, list(recordings), list(recordings.values()))


def load(cache: Path | None = None, progress: Callable[[float], None] | None = None) -> Play:
    """Everybody's play, converted at the first call and kept in a file.

    Args:
        cache: The folder for that file; if left out, NPCMETA_CACHE or the user's cache folder.
        progress: Is told the share that has been converted.
    """
    path = (cache or cache_folder()) / CACHE
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Play(*(arrays[name] for name in Play._fields))
    except (OSError, KeyError, *UNREADABLE):
        play = convert(progress)
        # A folder that cannot be written costs a conversion each time, nothing else.
        with contextlib.suppress(OSError):
            write_arrays(path, play._asdict())
        return play


def convert(progress: Callable[[float], None] | None = None) -> Play:
    """Computes the features of all trials of the installed package."""
    trials, parts = read_trials(), []
    for done, trial in enumerate(trials, start=1):
        ticks = len(trial.states)
        who = np.array([(trial.file, trial.pair, seat) for seat in (0, 1)])
        parts.append(
            Play(
                features(trial).reshape(2 * ticks, SIZE),
                trial.actions.reshape(-1),
                np.tile(who, (ticks, 1)),
                np.full(2 * ticks, trial.layout),
            )
        )
        if progress is not None:
            progress(done / len(trials))
    return Play(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def cache_folder() -> Path:
    """Where converted data is kept: NPCMETA_CACHE, or `npcmeta` in the user's cache folder."""
    if own := os.environ.get("NPCMETA_CACHE"):
        return Path(own)
    base = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "npcmeta"


def _recording(play: Play, rows: NDArray[np.bool_]) -> Recording:
    steps = int(rows.sum())
    files = play.who[rows, 0]
    return Recording(
        play.observation[rows],
        np.zeros((steps, 0), dtype=np.float32),
        play.action[rows, None],
        unmasked(steps, SPEC.action.branch_sizes),
        np.concatenate([[True], files[1:] != files[:-1]]),
        np.zeros(steps, dtype=np.float32),
        SPEC.action.branch_sizes,
        SPEC.tick_rate_hz,
    )
