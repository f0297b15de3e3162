"""Real play to check graphs with: what the characters of an archetype's own family do."""

from __future__ import annotations

from torch import Generator

from npcmeta import tasks
from npcmeta.archetype import Archetype
from npcmeta.types import Examples

CHARACTERS = 4


def played(archetype: Archetype) -> Examples | None:
    """A demonstration of some characters that the archetype was trained on, [T, S, ...]; none if they are not at hand.

    They are for families that bring their own tasks; others have recordings, which only their owner knows.
    """
    family = tasks.FAMILIES.get(archetype.family)
    if family is None or family.needs_data:
        return None
    try:
        train = tasks.load_splits(archetype.family, None, 0).train
    except ImportError:  # of an optional package that holds the family's recordings
        return None
    if train.spec != archetype.spec:
        return None
    generator = Generator().manual_seed(0)
    return train.sample(generator, CHARACTERS, shots=family.demonstration, query_shots=1).support
