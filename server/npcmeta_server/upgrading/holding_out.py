"""Which of an NPC's examples are held out, to see whether another archetype revision catches the character as well."""

from __future__ import annotations

from collections.abc import Sequence

from npcmeta_server.clips import Clip

SHARE = 5
"""At least one in so many examples is held out."""


def split(clips: Sequence[Clip]) -> tuple[list[Clip], list[Clip]] | None:
    """What to adapt from, and what to judge on; None with fewer than two examples.

    Whole clips are held out, the last ones, as few as make a fifth of the examples: neighbouring examples of one clip
    are too alike to judge by. If all is one clip, or the others would be less than half of the examples, the last fifth
    of the last one is.
    """
    total = sum(clip.examples for clip in clips)
    if total < 2:
        return None
    for count in range(1, len(clips)):
        held_out = sum(clip.examples for clip in clips[-count:])
        if held_out * 2 > total:
            break
        if held_out * SHARE >= total:
            return list(clips[:-count]), list(clips[-count:])
    return _cut(clips, max(1, total // SHARE))


def _cut(clips: Sequence[Clip], count: int) -> tuple[list[Clip], list[Clip]]:
    """Holds out the last examples of a timeline."""
    first = list(clips)
    held_out: list[Clip] = []
    while count:
        clip = first.pop()
        taken = min(count, clip.examples)
        at = clip.examples - taken
        held_out.insert(0, Clip(*(array[at:] for array in clip)))
        if at:
            first.append(Clip(*(array[:at] for array in clip)))
        count -= taken
    return first, held_out
