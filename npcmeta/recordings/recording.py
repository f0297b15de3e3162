"""One character's recorded timeline, and what has to hold for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_BRANCHES = 64
MAX_CHOICES = 4096
MAX_CONTINUOUS = 4096
MAX_OBSERVATION = 16_384
MAX_STEPS = 1 << 24
MAX_BYTES = 512 << 20
"""Of a file, and of what it becomes in memory."""
ROUNDING = 1e-4
"""So far outside of -1 to 1 is a continuous action still one of them."""


class RecordingError(ValueError):
    """A recording cannot be used; the message names the file and the place, what came and what was expected."""


class Recording(NamedTuple):
    """Row t holds the observation at tick t and the action then chosen; an absent kind of action has width 0."""

    observations: NDArray[np.float32]  # [T, O]
    continuous_actions: NDArray[np.float32]  # [T, C]
    discrete_actions: NDArray[np.int64]  # [T, B]
    action_masks: NDArray[np.bool_]  # [T, W], True = allowed
    episode_starts: NDArray[np.bool_]  # [T]
    rewards: NDArray[np.float32]  # [T], the reward that followed the action
    branch_sizes: tuple[int, ...]
    tick_rate_hz: float | None = None
    name: str = ""
    notes: tuple[str, ...] = ()
    branches_declared: bool = True  # False: branch_sizes are only the largest choices seen, plus one

    @property
    def steps(self) -> int:
        """Decisions in the timeline, T."""
        return len(self.observations)


def cut(recording: Recording, first: int, last: int) -> Recording:
    """The steps from `first` up to but without `last`."""
    r, kept = recording, slice(first, last)
    return r._replace(
        observations=r.observations[kept],
        continuous_actions=r.continuous_actions[kept],
        discrete_actions=r.discrete_actions[kept],
        action_masks=r.action_masks[kept],
        episode_starts=r.episode_starts[kept],
        rewards=r.rewards[kept],
    )


def join(recordings: Sequence[Recording]) -> Recording:
    """One timeline of several that agree on their sizes; each begins an episode."""
    starts = np.concatenate([r.episode_starts for r in recordings])
    starts[np.cumsum([0, *(r.steps for r in recordings[:-1])])] = True
    return recordings[0]._replace(
        observations=np.concatenate([r.observations for r in recordings]),
        continuous_actions=np.concatenate([r.continuous_actions for r in recordings]),
        discrete_actions=np.concatenate([r.discrete_actions for r in recordings]),
        action_masks=np.concatenate([r.action_masks for r in recordings]),
        episode_starts=starts,
        rewards=np.concatenate([r.rewards for r in recordings]),
        notes=tuple(note for r in recordings for note in r.notes),
    )


def check(recording: Recording, source: str) -> Recording:
    """Returns the recording if every value in it can be learned from.

    Raises:
        RecordingError: On wrong shapes, numbers that are not finite, choices out of range, or choices that the
            recording's own mask forbids. `source` names the file.
    """
    _check_sizes(recording, source)
    for name in ("observations", "continuous_actions", "rewards"):
        _check_finite(getattr(recording, name), name, source)
    _check_range(recording.continuous_actions, source)
    _check_choices(recording, source)
    _check_masks(recording, source)
    rate = recording.tick_rate_hz
    if rate is not None and not 0 < rate <= 1000:
        raise RecordingError(f"{source}: the tick rate is {rate} Hz; expected more than 0 and at most 1000")
    return recording


def unmasked(steps: int, branch_sizes: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask [T, W] that allows everything."""
    return np.ones((steps, sum(branch_sizes)), dtype=np.bool_)


def check_branch_sizes(sizes: tuple[int, ...], source: str) -> None:
    """Raises RecordingError unless these can be the numbers of choices of some branches."""
    if len(sizes) > MAX_BRANCHES or not all(size >= 1 for size in sizes) or sum(sizes) > MAX_CHOICES:
        shown = ", ".join(map(str, sizes[:MAX_BRANCHES]))
        raise RecordingError(
            f"{source}: the branches have {shown} choices; expected at most {MAX_BRANCHES} branches of at least 1 and "
            f"together at most {MAX_CHOICES} choices"
        )


def check_counted_from_zero(chosen: NDArray[np.int64], source: str) -> None:
    """Raises RecordingError on a choice below 0, as some games write where nothing was decided."""
    if (chosen < 0).any():
        step, branch = np.argwhere(chosen < 0)[0].tolist()
        raise RecordingError(
            f"{source}: discrete_actions, step {step}, branch {branch}: {chosen[step, branch]}; expected choices "
            "counted from 0: give doing nothing a number of its own, or drop such steps when recording"
        )


def check_extent(steps: int, observation: int, continuous: int, branch_sizes: tuple[int, ...], source: str) -> None:
    """Raises RecordingError if so many steps would take too much memory; to be called before anything is built."""
    row = 4 * (observation + continuous) + 8 * len(branch_sizes) + sum(branch_sizes) + 5
    if steps > MAX_STEPS or steps * row > MAX_BYTES:
        raise RecordingError(
            f"{source}: {steps:,} steps take {steps * row:,} bytes; expected at most {MAX_STEPS:,} steps and "
            f"{MAX_BYTES:,} bytes in one file: split the timeline into several, they are read in name order"
        )


def _check_sizes(recording: Recording, source: str) -> None:
    steps, branches = recording.steps, len(recording.branch_sizes)
    check_branch_sizes(recording.branch_sizes, source)
    if steps == 0 or not 1 <= recording.observations.shape[-1] <= MAX_OBSERVATION:
        raise RecordingError(
            f"{source}: observations have the shape {recording.observations.shape}; expected at least one step of 1 "
            f"to {MAX_OBSERVATION} numbers"
        )
    if recording.continuous_actions.shape[-1] > MAX_CONTINUOUS:
        raise RecordingError(
            f"{source}: continuous_actions have {recording.continuous_actions.shape[-1]} numbers; expected at most "
            f"{MAX_CONTINUOUS}"
        )
    expected = {
        "continuous_actions": (steps, recording.continuous_actions.shape[-1]),
        "discrete_actions": (steps, branches),
        "action_masks": (steps, sum(recording.branch_sizes)),
        "episode_starts": (steps,),
        "rewards": (steps,),
    }
    for name, shape in expected.items():
        if getattr(recording, name).shape != shape:
            raise RecordingError(f"{source}: {name} has shape {getattr(recording, name).shape}; expected {shape}")
    if branches == 0 and recording.continuous_actions.shape[-1] == 0:
        raise RecordingError(f"{source}: there are no actions; expected continuous_actions, discrete_actions or both")


def _check_finite(values: NDArray[np.float32], name: str, source: str) -> None:
    if np.isfinite(values).all():
        return
    step, *column = np.argwhere(~np.isfinite(values))[0].tolist()
    place = f"step {step}" + (f", column {column[0]}" if column else "")
    found = values[(step, *column)]
    raise RecordingError(
        f"{source}: {name}, {place}: {found}; expected a finite number: drop such steps when recording"
    )


def _check_range(actions: NDArray[np.float32], source: str) -> None:
    outside = np.abs(actions) > 1 + ROUNDING
    if outside.any():
        step, column = np.argwhere(outside)[0].tolist()
        low, high = actions[:, column].min(), actions[:, column].max()
        raise RecordingError(
            f"{source}: continuous_actions, step {step}, column {column}: {actions[step, column]:g}; expected -1 to 1, "
            f"as a policy puts out nothing else: scale them when recording (this column runs from {low:g} to {high:g})"
        )


def _check_choices(recording: Recording, source: str) -> None:
    chosen = recording.discrete_actions
    wrong = (chosen < 0) | (chosen >= np.asarray(recording.branch_sizes, dtype=np.int64))
    if wrong.any():
        step, branch = np.argwhere(wrong)[0].tolist()
        raise RecordingError(
            f"{source}: discrete_actions, step {step}, branch {branch}: {chosen[step, branch]}; expected 0 to "
            f"{recording.branch_sizes[branch] - 1}"
        )


def _check_masks(recording: Recording, source: str) -> None:
    first = 0
    for branch, size in enumerate(recording.branch_sizes):
        allowed = recording.action_masks[:, first : first + size]
        taken = np.take_along_axis(allowed, recording.discrete_actions[:, branch : branch + 1], axis=1)[:, 0]
        if not taken.all():
            step = int(np.argmin(taken))
            raise RecordingError(
                f"{source}: action_masks, step {step}, branch {branch}: choice "
                f"{recording.discrete_actions[step, branch]} was taken but is masked out; expected True = allowed"
            )
        first += size
