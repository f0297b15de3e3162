"""What is in recordings: episodes, actions, observations, and what about them may be a mistake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from npcmeta.recordings.demo_records import DemoRecords
from npcmeta.recordings.recording import Recording

QUARTILE_ROWS, IQR_OF_NORMAL = 10_000, 1.349
FAR = 30.0
"""So many times as large as in its middle half, a column's deviation is that of a few values."""


class Ranges(NamedTuple):
    """Each column's mean, standard deviation, least and greatest value, and the deviation of its middle half."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    middle: NDArray[np.float64]  # as far as normal values with these quartiles would deviate

    @property
    def strayed(self) -> list[int]:
        """The columns in which most values vary, and a few lie much further out."""
        return np.flatnonzero((self.middle > 0) & (self.std > FAR * self.middle)).tolist()

    @property
    def constant(self) -> list[int]:
        """The columns that never change."""
        return np.flatnonzero(self.low == self.high).tolist()


class Branch(NamedTuple):
    """How a discrete branch was used; both [choices]."""

    taken: NDArray[np.float64]  # share of the steps in which the choice was taken
    allowed: NDArray[np.float64]  # share of the steps in which the mask allowed it


class Summary(NamedTuple):
    """What one timeline or several hold."""

    steps: int
    episode_lengths: tuple[int, ...]
    reward_per_episode: float
    observations: Ranges
    continuous: Ranges
    branches: tuple[Branch, ...]


class ZeroSignature(NamedTuple):
    """Whether actions in a .demo file stand one record late, as Unity writes them: episodes then begin with zeros."""

    episodes: int
    zeros: int  # how many episodes begin with an action of zeros
    elsewhere: float  # share of zeros among the other records; near 1, the beginnings say nothing

    @property
    def present(self) -> bool:
        """Whether every episode begins with zeros."""
        return self.zeros == self.episodes


def summarise(recordings: Sequence[Recording]) -> Summary:
    """Describes recordings that agree on their sizes, together."""
    lengths = tuple(length for recording in recordings for length in episode_lengths(recording))
    rewards = sum(float(recording.rewards.sum(dtype=np.float64)) for recording in recordings)
    masks = _joined(recordings, lambda r: r.action_masks)
    chosen = _joined(recordings, lambda r: r.discrete_actions)
    return Summary(
        sum(lengths),
        lengths,
        rewards / len(lengths),
        measure(_joined(recordings, lambda r: r.observations)),
        measure(_joined(recordings, lambda r: r.continuous_actions)),
        use_of_branches(chosen, masks, recordings[0].branch_sizes),
    )


def episode_lengths(recording: Recording) -> list[int]:
    """Steps of every episode; the first step begins one, whether it is marked or not."""
    starts = np.flatnonzero(recording.episode_starts[1:]) + 1
    return np.diff([0, *starts, recording.steps]).tolist()


def measure(values: NDArray[np.float32]) -> Ranges:
    """Mean, standard deviation and range of the columns of [n, columns]."""
    some = values[:: len(values) // QUARTILE_ROWS + 1].astype(np.float64)
    first, last = np.quantile(some, (0.25, 0.75), axis=0)
    mean, std = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
    return Ranges(mean, std, values.min(0), values.max(0), (last - first) / IQR_OF_NORMAL)


def use_of_branches(
    chosen: NDArray[np.int64], masks: NDArray[np.bool_], branch_sizes: tuple[int, ...]
) -> tuple[Branch, ...]:
    """Shares of the choices of every branch."""
    edges = np.cumsum((0, *branch_sizes))
    return tuple(
        Branch(
            np.bincount(chosen[:, branch], minlength=size) / len(chosen),
            masks[:, edges[branch] : edges[branch + 1]].mean(0),
        )
        for branch, size in enumerate(branch_sizes)
    )


def zero_signature(records: DemoRecords) -> ZeroSignature:
    """Counts the episodes of a file that begin with an action of zeros."""
    zeros = (records.continuous_actions == 0).all(1) & (records.discrete_actions == 0).all(1)
    starts = records.starts
    others = zeros[~starts]
    return ZeroSignature(int(starts.sum()), int(zeros[starts].sum()), float(others.mean()) if len(others) else 0.0)


def evaluable(lengths: Sequence[int], shots: Sequence[int]) -> dict[int, int]:
    """How many timelines of these lengths can be evaluated with K shots: those with at least 2K steps."""
    return {k: sum(length >= max(2, 2 * k) for length in lengths) for k in shots}


def problems(summary: Summary) -> list[str]:
    """What of a summary keeps a learner from learning, in sentences."""
    found = []
    if len(summary.observations.constant) == len(summary.observations.mean):
        found.append("the observations never change: is the right sensor recorded?")
    for index, branch in enumerate(summary.branches):
        if len(branch.taken) == 1:
            found.append(f"branch {index} has one choice only: there is nothing to decide, and it cannot be trained on")
    return found


def remarks(summary: Summary) -> list[str]:
    """What of a summary says nothing of a character, and may be a mistake, in sentences."""
    found, observations, actions = [], summary.observations, summary.continuous
    if 0 < len(observations.constant) < len(observations.mean):
        share = f"{len(observations.constant)} of {len(observations.mean)}"
        found.append(f"{share} observations never change: {_listed(observations.constant)}")
    if observations.strayed:
        found.append(
            f"observations of which a few values lie so far out that the others look alike to a learner: "
            f"{_listed(observations.strayed)}; if they stand for nothing there, record another number and a switch"
        )
    if actions.constant:
        found.append(f"continuous actions that never change: {_listed(actions.constant)}")
    for index, branch in enumerate(summary.branches):
        never = np.flatnonzero(branch.taken == 0).tolist()
        if len(never) == len(branch.taken) - 1 > 0:
            found.append(f"branch {index} is always {int(branch.taken.argmax())}: nothing can be learned of it")
        elif never:
            found.append(f"branch {index}: never taken: {_listed(never)}")
    return found


def _listed(columns: Sequence[int], most: int = 20) -> str:
    shown = ", ".join(map(str, columns[:most]))
    return shown if len(columns) <= most else f"{shown} and {len(columns) - most} more"


def _joined(recordings: Sequence[Recording], column: Callable[[Recording], NDArray]) -> NDArray:
    return np.concatenate([column(recording) for recording in recordings])
