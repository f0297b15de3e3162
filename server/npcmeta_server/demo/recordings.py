"""The demo's demonstrations as files, so that there is something to try the other commands with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from npcmeta.recordings.npz_writer import write_npz
from npcmeta.recordings.recording import Recording
from npcmeta.types import BehaviorSpec
from npcmeta_server.demo.cast import DEMONSTRATIONS, Cast


def write_recordings(cast: Cast, spec: BehaviorSpec, folder: Path) -> Path:
    """Writes a folder for each character, a file for each of its demonstrations; returns the folder of them all."""
    for character, name in enumerate(cast.names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(max(DEMONSTRATIONS)):
            write_npz(folder / name / f"{number + 1:02}.npz", _clip(cast, spec, character, number))
    return folder


def _clip(cast: Cast, spec: BehaviorSpec, character: int, number: int) -> Recording:
    rows, shown = slice(number * cast.examples, (number + 1) * cast.examples), cast.task.support
    return Recording(
        shown.observation[character, rows].numpy(),
        shown.action.continuous[character, rows].numpy(),
        shown.action.discrete[character, rows].numpy(),
        shown.action_mask[character, rows].numpy(),
        np.arange(cast.examples) == 0,
        np.zeros(cast.examples, np.float32),
        spec.action.branch_sizes,
        spec.tick_rate_hz,
    )
