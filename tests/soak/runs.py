"""The runs by name, and how long each is at its full length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.soak import churn, fuzz, kills, slow, throng, workers
from tests.soak.report import Report, Tell

Run = Callable[[Path, float, int, Tell], Report]
"""In a folder, for a share of the full length, with a seed."""

RUNS: dict[str, Run] = {
    "kills": lambda folder, share, seed, tell: kills.run(folder, _part(100, share), seed, tell),
    "workers": lambda folder, share, seed, tell: workers.run(folder, _part(100, share), seed, tell),
    "fuzz": lambda folder, share, seed, tell: fuzz.run(folder, _part(1_000_000, share), seed, tell),
    "churn": lambda folder, share, seed, tell: churn.run(folder, _part(36_000, share), seed, tell),
    "throng": lambda folder, share, seed, tell: throng.run(folder, _part(10_000, share), seed, tell),
    "slow": lambda folder, share, seed, tell: slow.run(folder, _part(1_000, share), seed, tell, max(1, 10 * share)),
}
"""Churn is an hour's worth at ten NPCs a second."""


def _part(full: int, share: float) -> int:
    return max(1, round(share * full))
