"""Writes Unity ML-Agents demonstration files (.demo, version 1), shifted as Unity's own recorder shifts them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from npcmeta.files import write_whole
from npcmeta.recordings.framing import BODY, framed
from npcmeta.recordings.gen.mlagents_demo.demo_pb2 import (
    ActionSpec,
    AgentInfoActionPair,
    BrainParameters,
    DemonstrationMeta,
)
from npcmeta.recordings.recording import Recording, RecordingError, check

MAX_NAME = 16
"""Bytes of a demonstration's name, as in Unity's recorder: more would not fit before the brain parameters."""


def write_demo(path: Path, recording: Recording, brain: str = "npcmeta") -> None:
    """Writes a recording, whole or not at all.

    Every episode begins with a pair whose action is zero and ends with one more pair than it has decisions, which
    holds the last action; the observation after that action is not in a recording, so the last one is repeated.

    Raises:
        RecordingError: If the recording is not sound.
    """
    check(recording, recording.name or str(path))
    starts = recording.episode_starts.copy()
    starts[0] = True
    first = np.flatnonzero(starts)
    meta = DemonstrationMeta(
        api_version=1,
        demonstration_name=_short(recording.name or path.stem),
        number_steps=recording.steps + len(first),
        number_episodes=len(first),
        mean_reward=float(recording.rewards.sum(dtype=np.float64) / len(first)),
    )
    header = framed(meta)
    if len(header) > BODY:
        raise RecordingError(f"{path}: {meta.number_steps} steps are too many for one file; write several")

    def write(stream: IO[bytes]) -> None:
        stream.write(header.ljust(BODY, b"\0"))
        stream.write(framed(_brain(recording, brain)))
        for pair in _pairs(recording, starts):
            stream.write(framed(pair))
        stream.write(header)

    write_whole(path, write)


def _pairs(recording: Recording, starts: NDArray[np.bool_]) -> Iterator[Message]:
    ends = np.append(starts[1:], True)
    none = (np.zeros(recording.continuous_actions.shape[1]), np.zeros(len(recording.branch_sizes), dtype=np.int64))
    taken, reward, episode = none, 0.0, 0
    for step in range(recording.steps):
        if starts[step]:
            taken, reward, episode = none, 0.0, episode + 1
        yield _pair(recording, step, taken, reward, episode, done=False)
        taken = (recording.continuous_actions[step], recording.discrete_actions[step])
        reward = float(recording.rewards[step])
        if ends[step]:
            yield _pair(recording, step, taken, reward, episode, done=True)


def _pair(
    recording: Recording, step: int, taken: tuple[NDArray, NDArray], reward: float, episode: int, *, done: bool
) -> AgentInfoActionPair:
    pair = AgentInfoActionPair()
    info = pair.agent_info
    info.reward, info.done, info.id = reward, done, episode
    info.action_mask.extend((~recording.action_masks[step]).tolist())
    observation = info.observations.add()
    observation.shape.append(recording.observations.shape[1])
    observation.float_data.data.extend(recording.observations[step].tolist())
    pair.action_info.continuous_actions.extend(taken[0].tolist())
    pair.action_info.discrete_actions.extend(taken[1].tolist())
    return pair


def _brain(recording: Recording, brain: str) -> BrainParameters:
    spec = ActionSpec(
        num_continuous_actions=recording.continuous_actions.shape[1],
        num_discrete_actions=len(recording.branch_sizes),
        discrete_branch_sizes=recording.branch_sizes,
    )
    return BrainParameters(brain_name=brain, action_spec=spec)


def _short(name: str) -> str:
    """The name cut to what fits, never inside a character."""
    return name.encode()[:MAX_NAME].decode(errors="ignore")
