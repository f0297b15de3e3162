"""Writes recordings as .npz files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from npcmeta.files import write_whole
from npcmeta.recordings.recording import Recording, check


def write_npz(path: Path, recording: Recording) -> None:
    """Writes a recording, whole or not at all.

    Raises:
        RecordingError: If the recording is not sound.
    """
    check(recording, recording.name or str(path))
    arrays: dict[str, NDArray] = {"observations": recording.observations}
    if recording.continuous_actions.shape[-1]:
        arrays["continuous_actions"] = recording.continuous_actions
    if recording.branch_sizes:
        arrays["discrete_actions"] = recording.discrete_actions
        arrays["action_masks"] = recording.action_masks
        if recording.branches_declared:
            arrays["branch_sizes"] = np.asarray(recording.branch_sizes, dtype=np.int64)
    arrays |= {"episode_starts": recording.episode_starts, "rewards": recording.rewards}
    if recording.tick_rate_hz is not None:
        arrays["tick_rate_hz"] = np.asarray(recording.tick_rate_hz, dtype=np.float64)
    write_arrays(path, arrays)


def write_arrays(path: Path, arrays: dict[str, NDArray]) -> None:
    """Writes named arrays to a compressed file that appears under its name only when it is complete."""
    write_whole(path, lambda stream: np.savez_compressed(stream, allow_pickle=False, **arrays))  # type: ignore[arg-type]
