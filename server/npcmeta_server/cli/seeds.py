"""Numbers that fix what is random: checked before anything is made with one that no file and no generator holds."""

from __future__ import annotations

from npcmeta.header import MAX_COUNT, MAX_SPLIT


def checked_seed(seed: int) -> int:
    """Returns the seed, or raises ValueError saying what one may be."""
    return _checked("--seed", seed, MAX_COUNT)


def checked_split(split: int) -> int:
    """Returns the number of a split, or raises ValueError saying what one may be."""
    return _checked("--split", split, MAX_SPLIT)


def _checked(option: str, number: int, most: int) -> int:
    if not 0 <= number <= most:
        raise ValueError(f"{option} is {number}, expected 0 to {most}")
    return number
