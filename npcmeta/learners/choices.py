"""Settings that training does not fix, to be chosen on validation tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

from npcmeta.types import BehaviorSpec

S = TypeVar("S")

PRICE = 0.25
"""What may be lost at some number of shots, as a share of what is gained at another."""


class Choice(NamedTuple):
    """Alternatives for some settings."""

    alternatives: Sequence[Mapping[str, Any]]  # changes to the settings
    doubt: float | None = None  # by how many of its standard errors one must beat the settings as they are


class Settled:
    """Settings of which training leaves none open: the inner loop was trained as it is."""

    def choices(self, spec: BehaviorSpec) -> list[Choice]:
        """Nothing is left to choose."""
        return []


def best(settings: S, choice: Choice, nll: Callable[[S], Sequence[Tensor]]) -> S:
    """The settings with the alternative that is lowest in NLL on validation tasks, or as they are if doubt remains.

    What is doubted may also lose at no number of shots more than a `PRICE`: to gain with few examples what is lost with
    many is no evidence of what an example counts for.

    Args:
        settings: A dataclass.
        choice: Its alternatives.
        nll: Of settings: for each number of shots, the NLL of every task [T]; always of the same tasks.
    """
    candidates = [replace(settings, **changes) for changes in choice.alternatives]  # type: ignore[type-var]
    if choice.doubt is None:
        return min(candidates, key=lambda candidate: mean(nll(candidate)))
    before, found, most = nll(settings), settings, 0.0
    for candidate in candidates:
        gains = [old - new for old, new in zip(before, nll(candidate), strict=True)]
        if mean(gains) > most and _believed(gains, choice.doubt):
            found, most = candidate, mean(gains)
    return found


def _believed(gains: Sequence[Tensor], doubt: float) -> bool:
    """Whether gains [T] at each number of shots are beyond doubt on the whole, and what is lost is worth them."""
    means = [float(gain.mean()) for gain in gains]
    # The same tasks at other numbers of shots say little that is new, so their errors are not averaged out.
    error = math.fsum(float(gain.std(correction=0)) / math.sqrt(len(gain)) for gain in gains) / len(gains)
    return mean(gains) > doubt * error and min(means) >= -PRICE * max(means)


def mean(scores: Sequence[Tensor]) -> float:
    """The mean over tasks, then over the numbers of shots."""
    return math.fsum(float(score.mean()) for score in scores) / len(scores)
