"""Unity ML-Agents demonstration files (.demo) as recordings.

The action in pair t of such a file is the one chosen at the previous decision, so that the first pair of an episode
holds zeros: the observation of pair t belongs with the action of pair t + 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from npcmeta.recordings.demo_records import DemoRecords, read_records
from npcmeta.recordings.recording import Recording, RecordingError, check


def read_demo(path: Path) -> Recording:
    """Reads one file as a timeline in which every observation stands beside the action that it led to.

    Raises:
        RecordingError: If the file is not such a file, cut short, or holds what cannot be learned from (images); the
            message names the step and what was expected.
    """
    return align(read_records(path), str(path))


def align(records: DemoRecords, source: str) -> Recording:
    """Gives every observation the action and reward of the following pair; the last pair of an episode has none."""
    kept = np.flatnonzero(~records.done[:-1])
    if not len(kept):
        raise RecordingError(f"{source}: no episode is longer than one step; expected at least two to see an action")
    recording = Recording(
        records.observations[kept],
        records.continuous_actions[kept + 1],
        records.discrete_actions[kept + 1],
        records.allowed[kept],
        records.starts[kept],
        records.rewards[kept + 1],
        records.header.branch_sizes,
        name=Path(source).stem,
    )
    return check(_allow_taken(recording, source), source)


def _allow_taken(recording: Recording, source: str) -> Recording:
    """Unity's heuristics may ignore the mask: what was done was possible, whatever the mask said."""
    allowed, first, ignored = recording.action_masks.copy(), 0, 0
    rows = np.arange(recording.steps)
    for branch, size in enumerate(recording.branch_sizes):
        chosen = recording.discrete_actions[:, branch].clip(0, size - 1) + first
        ignored += int((~allowed[rows, chosen]).sum())
        allowed[rows, chosen] = True
        first += size
    if not ignored:
        return recording
    note = f"{source}: {ignored} choices were taken although they were masked; they count as allowed there"
    return recording._replace(action_masks=allowed, notes=(*recording.notes, note))
