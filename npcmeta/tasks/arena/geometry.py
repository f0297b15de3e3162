"""Randomness without state, and the little geometry that the arena needs.

Arrays have the arenas on their last axis, so that numpy's inner loops run over them.
"""

from __future__ import annotations

import numpy as np

# The names tell the reader which elements are meant; numpy's own types for that do not survive arithmetic.
Floats = np.ndarray  # float32
Integers = np.ndarray  # int64 unless said otherwise
Bools = np.ndarray


def uniform(seed: Integers, moment: Integers, size: int, salt: int = 0) -> Floats:
    """Random numbers in [0, 1) that depend on (seed, moment, salt, row) alone, so a step needs no generator.

    Args:
        seed: [A] one number for each arena.
        moment: [A] or [size, A], what makes one draw differ from the next: a tick, an episode.
        size: Numbers for each arena.
        salt: Keeps draws for different purposes apart.

    Returns:
        [size, A]. Source: the integer hash `lowbias32` of C. Wellons, "Prospecting for Hash Functions" (2018).
    """
    rows = (np.arange(1, size + 1, dtype=np.uint32) + np.uint32(salt * 1000))[:, None] * np.uint32(0x9E3779B9)
    bits = _mix(_mix(moment.astype(np.uint32) + seed) ^ rows)
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


def _mix(bits: Integers) -> Integers:
    bits = (bits ^ (bits >> np.uint32(16))) * np.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> np.uint32(15))) * np.uint32(0x846CA68B)
    return bits ^ (bits >> np.uint32(16))


def length(x: Floats, y: Floats) -> Floats:
    """Euclidean length, element by element."""
    return np.sqrt(x * x + y * y)


def direction(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Unit vector and length of (x, y); the unit vector of nothing is nearly zero, never NaN."""
    size = length(x, y)
    scale = 1 / (size + np.float32(1e-3))
    return x * scale, y * scale, size


def line_of_sight(from_x: Floats, from_y: Floats, to_x: Floats, to_y: Floats, cover: Floats, radius: float) -> Bools:
    """Whether the straight line between two points misses every cover piece.

    Args:
        from_x: [A] and `from_y`, where somebody looks from, in metres.
        from_y: See `from_x`.
        to_x: [E, A] and `to_y`, what is looked at.
        to_y: See `to_x`.
        cover: [2, K, A] centres of round cover pieces.
        radius: Their radius in metres.

    Returns:
        [E, A] True = seen.
    """
    line_x, line_y = to_x - from_x, to_y - from_y
    centre_x, centre_y = cover[0] - from_x, cover[1] - from_y
    along = line_x[:, None] * centre_x + line_y[:, None] * centre_y
    share = np.clip(along / (line_x * line_x + line_y * line_y + np.float32(1e-6))[:, None], 0, 1)
    off_x, off_y = centre_x - share * line_x[:, None], centre_y - share * line_y[:, None]
    return ~((off_x * off_x + off_y * off_y) < radius * radius).any(1)


def push_out(x: Floats, y: Floats, cover: Floats, radius: float) -> tuple[Floats, Floats]:
    """Moves points [E, A] that stand inside a round cover piece straight out to its rim."""
    x, y = x.copy(order="C"), y.copy(order="C")
    for centre_x, centre_y in zip(cover[0], cover[1], strict=True):
        off_x, off_y = x - centre_x, y - centre_y
        inside = np.flatnonzero(off_x * off_x + off_y * off_y < radius * radius)
        away_x, away_y, distance = direction(off_x.ravel()[inside], off_y.ravel()[inside])
        x.reshape(-1)[inside] += away_x * (radius - distance)
        y.reshape(-1)[inside] += away_y * (radius - distance)
    return x, y


def pick(values: Floats, index: Integers) -> Floats:
    """`values[index[a], a]` for every arena a; values [E, A], index [A]."""
    return values[index, np.arange(len(index))]


def nearest(distance: Floats) -> tuple[Integers, Floats]:
    """Index and value of the smallest along the first axis; comparisons, as numpy's argmin is slow on a short axis."""
    index, least = np.zeros(distance.shape[1:], np.int64), distance[0]
    for candidate in range(1, len(distance)):
        closer = distance[candidate] < least
        index = np.where(closer, candidate, index)
        least = np.minimum(least, distance[candidate])
    return index, least
