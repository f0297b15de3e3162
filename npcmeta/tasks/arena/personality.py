"""Who the characters are: hidden personalities, and which of them are kept out of training."""

from __future__ import annotations

from typing import Literal

import numpy as np

from npcmeta.tasks.arena.geometry import Bools, Floats

TRAITS = (
    "aggression", "caution", "loyalty", "sociability", "greed", "distance", "patience", "reaction", "calling",
    "blocking", "turning", "pace",
)  # fmt: skip
"""Names of a personality's numbers, each in [0, 1].

distance: how far from a threat it likes to fight. patience: how long it waits between blows, hides, hunts on.
reaction: how slowly it notices. turning: which way it circles (above a half clockwise, y upwards) and how much.
"""

Part = Literal["train", "validation", "test"]
HELD_OUT = "aggression > 0.55 and caution > 0.55"
_PARTS: dict[str, int] = {"train": 0, "validation": 1, "test": 2}


def personalities(part: Part, count: int, seed: int) -> Floats:
    """Draws characters, [count, 12]; character i of a (part, seed) is the same whatever the count.

    Traits are logistic images of normal numbers, uniform or nearly so, with a few correlations (the bold are
    hasty, the sociable call out). The held-out region is `HELD_OUT`, about a sixth of all characters: either trait
    is high in many training characters, but never both. Training and validation draws reject it; of the test
    characters, those with an even index come from it and those with an odd index from outside it.
    """
    if part not in _PARTS:
        raise ValueError(f'no part "{part}" of the characters; expected one of {", ".join(_PARTS)}')
    return np.stack([_draw(part, index, seed) for index in range(count)]) if count else np.zeros((0, 12), np.float32)


def is_held_out(personality: Floats) -> Bools:
    """Whether characters [..., 12] lie in the held-out region."""
    held: Bools = (personality[..., 0] > 0.55) & (personality[..., 1] > 0.55)
    return held


def _draw(part: Part, index: int, seed: int) -> Floats:
    """One character; draws again until it is on the side of the held-out region where it belongs."""
    rng = np.random.default_rng([20, _PARTS[part], seed, index])
    wanted = part == "test" and index % 2 == 0
    while True:
        candidate = _traits(rng.standard_normal(len(TRAITS)))
        if bool(is_held_out(candidate)) == wanted:
            return candidate


def _traits(normal: np.ndarray) -> Floats:
    """Adds the correlations and squashes to [0, 1], a little towards both ends."""
    z = normal.copy()
    aggression, sociability = normal[TRAITS.index("aggression")], normal[TRAITS.index("sociability")]
    for name, cause, share in (
        ("reaction", -aggression, 0.3),
        ("calling", sociability, 0.4),
        ("pace", aggression, 0.3),
    ):
        at = TRAITS.index(name)
        z[at] = share * cause + np.sqrt(1 - share**2) * z[at]
    return (1 / (1 + np.exp(-2.0 * z))).astype(np.float32)
