"""Noise of drawn actions, fixed by each NPC's seed and the tick's number: replays are exact, nobody acts in unison.

A counter-based generator (the finaliser of SplitMix64, Steele et al. 2014) makes the numbers of all rows at once.
"""

from __future__ import annotations

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def draw(seeds: np.ndarray, number: int, continuous: int, choices: int) -> np.ndarray:
    """Noise for `Head.sample`, [n, C + W] float32: standard normal, then standard Gumbel.

    Args:
        seeds: [n] uint64, of the NPCs.
        number: Of the tick.
        continuous: C.
        choices: W.
    """
    uniform = _uniform(seeds, number, 2 * continuous + choices)
    radius = np.sqrt(-2 * np.log(uniform[:, :continuous]))
    normal = radius * np.cos(2 * np.pi * uniform[:, continuous : 2 * continuous])
    gumbel = -np.log(-np.log(uniform[:, 2 * continuous :]))
    return np.concatenate([normal, gumbel], 1).astype(np.float32)


def _uniform(seeds: np.ndarray, number: int, columns: int) -> np.ndarray:
    """Uniform numbers in (0, 1), [n, columns]."""
    tick = np.uint64(number % (1 << 64))
    with np.errstate(over="ignore"):
        start = _mix(_mix(seeds.astype(np.uint64)) + tick * GOLDEN)
        counters = start[:, None] + np.arange(1, columns + 1, dtype=np.uint64) * GOLDEN
        mixed = _mix(counters)
    # 52 bits, not 53: the half has to fit as well, or the largest number is rounded to 1 and its Gumbel is infinite.
    return ((mixed >> np.uint64(12)).astype(np.float64) + 0.5) / float(1 << 52)


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * MIX_1
    z = (z ^ (z >> np.uint64(27))) * MIX_2
    return np.asarray(z ^ (z >> np.uint64(31)))
