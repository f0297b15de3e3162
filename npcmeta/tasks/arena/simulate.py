"""Plays the expert and keeps what it saw and did: the material of demonstrations."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from npcmeta.tasks.arena import expert, world
from npcmeta.tasks.arena.geometry import Bools, Floats, Integers
from npcmeta.tasks.arena.observe import OBSERVATION_SIZE, observe
from npcmeta.tasks.arena.state import ACTION, action_mask, reset

WARM_UP_TICKS = 20
"""Steps before the record begins, so that it does not begin with made-up times since events."""
BATCH_ROWS = 2048

Progress = Callable[[int, int], None]
"""(steps done, steps in all)"""


class Recording(NamedTuple):
    """Expert play: R timelines of L steps each."""

    observation: Floats  # [R, L, O]
    move: Floats  # [R, L, 2]
    choice: Integers  # [R, L]
    action_mask: Bools  # [R, L, 5] what was allowed at that step


def record(personality: Floats, steps: int, seed: int, progress: Progress | None = None) -> Recording:
    """Records `steps` expert steps of each row of `personality` [R, 12], every row in its own arena.

    Args:
        personality: One character for each timeline; repeat a row for several arenas of one character.
        steps: Length of every timeline.
        seed: Of the arenas and of the expert's noise.
        progress: Called now and then.
    """
    rows = len(personality)
    width = ACTION.mask_size
    kept = Recording(
        np.empty((rows, steps, OBSERVATION_SIZE), np.float32),
        np.empty((rows, steps, ACTION.continuous_size), np.float32),
        np.empty((rows, steps), np.int64),
        np.empty((rows, steps, width), bool),
    )
    for first in range(0, rows, BATCH_ROWS):
        part = Recording(*(array[first : first + BATCH_ROWS] for array in kept))
        _fill(part, personality[first : first + BATCH_ROWS], np.random.default_rng([21, seed, first]))
        if progress is not None:
            progress(min(first + BATCH_ROWS, rows) * steps, rows * steps)
    return kept


def _fill(kept: Recording, personality: Floats, rng: np.random.Generator) -> None:
    """Plays one batch of arenas and writes every step into `kept`."""
    rows, steps = kept.choice.shape
    state = reset(rng, rows)
    for tick in range(-WARM_UP_TICKS, steps):
        seen, mask = observe(state), action_mask(state)
        move, choice = expert.act(seen, mask, personality, expert.draw_noise(rng, rows))
        if tick >= 0:
            kept.observation[:, tick], kept.move[:, tick] = seen, move
            kept.choice[:, tick], kept.action_mask[:, tick] = choice, mask
        state = world.step(state, move, choice)
