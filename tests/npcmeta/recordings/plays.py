"""Recordings to test with."""

from __future__ import annotations

import numpy as np

from npcmeta.recordings.recording import Recording, unmasked


def play(
    steps: int = 12, *, seed: int = 0, continuous: int = 0, branches: tuple[int, ...] = (3, 2), episode: int = 5
) -> Recording:
    """Somebody's play with episodes of equal length; every branch is used to its last choice."""
    random = np.random.default_rng(seed)
    observations = random.standard_normal((steps, 4)).astype(np.float32)
    chosen = [np.arange(steps) % size if size < 3 else random.integers(0, size, steps) for size in branches]
    discrete = np.stack(chosen, axis=1) if branches else np.zeros((steps, 0), dtype=np.int64)
    if branches:
        discrete[-1] = np.array(branches) - 1
    return Recording(
        observations,
        random.uniform(-1, 1, (steps, continuous)).astype(np.float32),
        discrete.astype(np.int64),
        unmasked(steps, branches),
        np.arange(steps) % episode == 0,
        random.standard_normal(steps).astype(np.float32),
        branches,
        10.0,
    )


def masked(recording: Recording, seed: int = 0) -> Recording:
    """The same play with a mask that forbids some of what was not done."""
    allowed = np.random.default_rng(seed).random(recording.action_masks.shape) < 0.7
    first = 0
    for branch, size in enumerate(recording.branch_sizes):
        allowed[np.arange(recording.steps), first + recording.discrete_actions[:, branch]] = True
        first += size
    return recording._replace(action_masks=allowed)


def assert_same(found: Recording, expected: Recording, *columns: str) -> None:
    names = columns or Recording._fields[:6]
    for name in names:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
        assert getattr(found, name).dtype == getattr(expected, name).dtype, name
    assert found.branch_sizes == expected.branch_sizes
