"""Settings that training does not fix, to be chosen on validation tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

from npcmeta.types import BehaviorSpec

S = TypeVar("S")


class Choice(NamedTuple):
    """Alternatives for some settings."""

    alternatives: Sequence[Mapping[str, Any]]  # changes to the settings
    doubt: float | None = None  # by how many of its standard errors the best must beat the settings as they are


class Settled:
    """Settings of which training leaves none open: the inner loop was trained as it is."""

    def choices(self, spec: BehaviorSpec) -> list[Choice]:
        """Nothing is left to choose."""
        return []


def best(settings: S, choice: Choice, nll: Callable[[S], Sequence[Tensor]]) -> S:
    """The settings with the alternative that is lowest in NLL on validation tasks, or as they are if doubt remains.

    Args:
        settings: A dataclass.
        choice: Its alternatives.
        nll: Of settings: for each number of shots, the NLL of every task [T]; always of the same tasks.
    """
    candidates = [replace(settings, **changes) for changes in choice.alternatives]  # type: ignore[type-var]
    scores = [(candidate, nll(candidate)) for candidate in candidates]
    found, reached = min(scores, key=lambda each: mean(each[1]))
    if choice.doubt is None:
        return found
    gains = [before - after for before, after in zip(nll(settings), reached, strict=True)]
    # The same tasks at other numbers of shots say little that is new, so their errors are not averaged out.
    error = math.fsum(float(gain.std(correction=0)) / math.sqrt(len(gain)) for gain in gains) / len(gains)
    return found if mean(gains) > choice.doubt * error else settings


def mean(scores: Sequence[Tensor]) -> float:
    """The mean over tasks, then over the numbers of shots."""
    return math.fsum(float(score.mean()) for score in scores) / len(scores)
