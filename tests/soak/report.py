"""What a long run found."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Tell = Callable[[float], None]
"""Is told how far a run is, from 0 to 1."""


class Report(NamedTuple):
    """A run that ended well: one that finds a fault ends with AssertionError."""

    run: str
    figures: dict[str, float | int | str]
