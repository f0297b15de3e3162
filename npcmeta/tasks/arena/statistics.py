"""Behaviour statistics: what a character does in the arena, in seventeen numbers, and how far two such rows differ.

Everything is computed from world states and actions alone, so a policy and the expert are measured alike.
"""

from __future__ import annotations

import numpy as np

from npcmeta.tasks.arena import geometry
from npcmeta.tasks.arena.geometry import Bools, Floats
from npcmeta.tasks.arena.observe import in_cover
from npcmeta.tasks.arena.state import (
    ATTACK,
    BLOCK,
    CALL,
    INTERACT,
    NPC,
    PLAYER,
    SINCE_APPEARED,
    SINCE_ATTACK,
    TICK_RATE_HZ,
    State,
    item_distance,
)

QUANTITIES: tuple[str, ...] = (
    "threat_distance",  # metres to the nearest threat in sight
    "post_distance",  # metres
    "time_at_post",  # share of ticks within 2.5 m of it
    "player_distance",  # metres
    "item_distance",  # metres to the nearest item
    "time_in_cover",  # share of ticks beside cover with no threat in sight
    "attack_rate",  # a minute, as the three below
    "block_rate",
    "call_rate",
    "interact_rate",
    "attack_delay",  # seconds since the threat appeared or the last blow, at a blow
    "speed",  # metres a second, as moved
    "approach",  # speed towards the nearest threat in sight, as a share of the greatest
    "circling",  # speed around it, clockwise positive (y upwards)
    "turn_rate",  # degrees a tick between one move and the next
    "straightness",  # distance covered in a second as a share of the way walked
    "retreat_health",  # health while moving away from a threat in sight
)
NUM_QUANTITIES = len(QUANTITIES)
WINDOW = int(TICK_RATE_HZ)


class Tally:
    """Running sums of every quantity for each row; `add` once a tick, then `means`."""

    def __init__(self, rows: int) -> None:
        self._sum = np.zeros((NUM_QUANTITIES, rows))
        self._count = np.zeros((NUM_QUANTITIES, rows))
        self._walked = np.zeros(rows, np.float32)
        self._corner: tuple[Floats, Floats] | None = None

    def add(self, before: State, after: State) -> None:
        """Counts one step; `after` holds the move and the choice that were made in `before`."""
        calm = (after.tick == before.tick + 1) & (after.reward > -0.9)  # neither a new episode nor a fall
        always = np.ones_like(calm)
        post = geometry.length(before.x[NPC] - before.post[0], before.y[NPC] - before.post[1])
        player = geometry.length(before.x[NPC] - before.x[PLAYER], before.y[NPC] - before.y[PLAYER])
        self._put("post_distance", post, always)
        self._put("time_at_post", post < 2.5, always)
        self._put("player_distance", player, always)
        self._put("item_distance", item_distance(before).min(0), always)
        self._put("time_in_cover", in_cover(before), always)
        for kind, name in ((ATTACK, "attack"), (BLOCK, "block"), (CALL, "call"), (INTERACT, "interact")):
            self._put(f"{name}_rate", 60 * TICK_RATE_HZ * (after.choice == kind), always)
        waited = np.minimum(before.since[SINCE_ATTACK], before.since[SINCE_APPEARED])
        self._put("attack_delay", np.minimum(waited, 4), after.choice == ATTACK)
        self._add_motion(before, after, calm)

    def means(self, characters: int) -> np.ndarray:
        """Means of each character, [characters, quantities]; rows are character-major.

        What happens only at times (blows, retreats) is drawn towards a fixed value by 20 ticks' worth, so that
        somebody who never does it has a number too.
        """
        total = self._sum.reshape(NUM_QUANTITIES, characters, -1).sum(2)
        count = self._count.reshape(NUM_QUANTITIES, characters, -1).sum(2)
        for name, usual in (("attack_delay", 1.5), ("retreat_health", 0.6), ("threat_distance", 5.0)):
            at = QUANTITIES.index(name)
            total[at], count[at] = total[at] + 20 * usual, count[at] + 20
        return (total / np.maximum(count, 1)).T

    def _put(self, name: str, value: np.ndarray, when: Bools) -> None:
        at = QUANTITIES.index(name)
        self._sum[at] += np.where(when, value, 0)
        self._count[at] += when

    def _add_motion(self, before: State, after: State, calm: Bools) -> None:
        """Speeds, relative to the nearest threat in sight where there is one, and the shape of the path."""
        step_x, step_y = after.x[NPC] - before.x[NPC], after.y[NPC] - before.y[NPC]
        walked = geometry.length(step_x, step_y)
        self._put("speed", walked * TICK_RATE_HZ, calm)
        sighted = (before.aim >= 0) & calm
        self._put("threat_distance", before.aim_distance, sighted)
        to_x, to_y, _ = geometry.direction(before.last_threat[0] - before.x[NPC], before.last_threat[1] - before.y[NPC])
        approach = after.move[0] * to_x + after.move[1] * to_y
        self._put("approach", approach, sighted)
        self._put("circling", after.move[1] * to_x - after.move[0] * to_y, sighted)
        self._put("retreat_health", before.health[NPC], sighted & (approach < -0.2) & (before.aim_distance < 7))
        self._add_turns(before, after, calm)
        self._add_path(after, walked)

    def _add_turns(self, before: State, after: State, calm: Bools) -> None:
        cross = before.move[0] * after.move[1] - before.move[1] * after.move[0]
        dot = (before.move * after.move).sum(0)
        moving = (geometry.length(*before.move) > 0.2) & (geometry.length(*after.move) > 0.2)
        self._put("turn_rate", np.degrees(np.arctan2(np.abs(cross), dot)), moving & calm)

    def _add_path(self, after: State, walked: Floats) -> None:
        """Straightness over windows of one second."""
        self._walked += walked
        if self._corner is None:
            self._corner = after.x[NPC], after.y[NPC]
            self._walked[:] = 0
        elif int(after.tick[0]) % WINDOW == 0:
            made = geometry.length(after.x[NPC] - self._corner[0], after.y[NPC] - self._corner[1])
            straight = np.minimum(made / np.maximum(self._walked, 1e-3), 1)
            self._put("straightness", straight, self._walked > 0.3)
            self._corner = after.x[NPC], after.y[NPC]
            self._walked[:] = 0


def behaviour_difference(a: np.ndarray, b: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Mean over the quantities of |a - b| / spread, for each character [T]; a and b are [T, quantities]."""
    difference: np.ndarray = (np.abs(a - b) / spread).mean(1)
    return difference


def spread_between(means: np.ndarray) -> np.ndarray:
    """Standard deviation of each quantity between characters, from their means [T, quantities]."""
    return np.maximum(means.std(0), 1e-3)


def gap_closed(distance: np.ndarray, average: np.ndarray) -> float:
    """Share of the average policy's distance from the experts that a policy closes, over a set of characters.

    Args:
        distance: D of the policy for each character, [T].
        average: D of the average policy for the same characters.

    Returns:
        1 - sum D / sum D(average): 1 = behaves as the experts do, 0 = as the average policy, negative = worse.
    """
    return float(1 - distance.sum() / average.sum())


def gap_closed_each(distance: np.ndarray, average: np.ndarray) -> list[float | None]:
    """The same for single characters; None where the average policy is too close (D < 0.5) for a ratio to mean much."""
    pairs = zip(distance, average, strict=True)
    return [float(1 - own / base) if base >= 0.5 else None for own, base in pairs]
