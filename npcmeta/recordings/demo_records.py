"""What is in a Unity ML-Agents demonstration file (.demo), pair by pair, read without Unity.

Files are untrusted; every length is checked against what the file has left, and no message is parsed beyond a megabyte.

Source: com.unity.ml-agents 3.0, Runtime/Demonstrations; versions 0 and 1.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from npcmeta.recordings.framing import BODY, read_bytes, read_message
from npcmeta.recordings.gen.mlagents_demo.demo_pb2 import (
    AgentInfoActionPair,
    BrainParameters,
    DemonstrationMeta,
    Observation,
)
from npcmeta.recordings.recording import (
    MAX_CONTINUOUS,
    MAX_OBSERVATION,
    RecordingError,
    check_branch_sizes,
    check_extent,
)

MAX_SENSORS = 256


class DemoHeader(NamedTuple):
    """What the file says of itself. Its episodes are one too many, and its mean reward is too low accordingly."""

    version: int
    name: str
    steps: int
    episodes: int
    mean_reward: float
    brain: str
    continuous_size: int
    branch_sizes: tuple[int, ...]


class DemoRecords(NamedTuple):
    """The pairs of a file as they stand in it, [n] of them: actions are those of the previous decision."""

    header: DemoHeader
    sensor_sizes: tuple[int, ...]
    observations: NDArray[np.float32]  # [n, O], the sensors' numbers in the file's order
    continuous_actions: NDArray[np.float32]  # [n, C]
    discrete_actions: NDArray[np.int64]  # [n, B]
    allowed: NDArray[np.bool_]  # [n, W]; the file has it the other way round
    rewards: NDArray[np.float32]  # [n], since the previous decision
    done: NDArray[np.bool_]  # [n], the last pair of its episode

    @property
    def starts(self) -> NDArray[np.bool_]:
        """The first pair of every episode [n]."""
        return np.concatenate([[True], self.done[:-1]])


def read_records(path: Path) -> DemoRecords:
    """Reads the pairs of a file as they are.

    Raises:
        RecordingError: See `read_demo`.
    """
    source = str(path)
    data = read_bytes(path)
    meta, _ = read_message(data, 0, DemonstrationMeta(), "the metadata", source)
    assert isinstance(meta, DemonstrationMeta)
    _check_meta(meta, len(data), source)
    brain, position = read_message(data, BODY, BrainParameters(), "the brain parameters", source)
    assert isinstance(brain, BrainParameters)
    continuous, branches = action_sizes(brain, source)
    check_extent(meta.number_steps, 0, continuous, branches, source)
    header = DemoHeader(
        meta.api_version, meta.demonstration_name, meta.number_steps, meta.number_episodes, meta.mean_reward,
        brain.brain_name, continuous, branches,
    )  # fmt: skip
    reading = _Reading(header, source)
    pair = AgentInfoActionPair()
    for step in range(meta.number_steps):
        _, position = read_message(data, position, pair, f"step {step} of {meta.number_steps}", source)
        reading.add(pair, step)
    return reading.finish()


class _Reading:
    """The pairs read so far, in flat arrays."""

    def __init__(self, header: DemoHeader, source: str) -> None:
        self.header, self.source = header, source
        self.width = sum(header.branch_sizes)
        self.sensors: tuple[int, ...] = ()
        self.first = True
        self.observations, self.rewards, self.continuous = array("f"), array("f"), array("f")
        self.discrete, self.masked, self.done = array("q"), array("b"), array("b")

    def add(self, pair: AgentInfoActionPair, step: int) -> None:
        info = pair.agent_info
        self._add_observations(info.observations, step)
        self._add_actions(pair, step)
        if len(info.action_mask) not in (0, self.width):
            raise self._error(step, f"the action mask has {len(info.action_mask)} values; expected {self.width}")
        self.masked.frombytes(bytes(info.action_mask) or bytes(self.width))
        self.rewards.append(info.reward)
        self.first = info.done
        self.done.append(info.done)

    def _add_observations(self, sensors: Sequence[Observation], step: int) -> None:
        sizes = tuple(len(sensor.float_data.data) for sensor in islice(sensors, MAX_SENSORS))
        if step == 0:
            self._check_sensors(sensors, sizes)
            self.sensors = sizes
        if sizes != self.sensors or len(sensors) != len(sizes):
            raise self._error(step, f"the observations have {sizes} numbers; expected {self.sensors}, as in step 0")
        for sensor in sensors:
            self.observations.extend(sensor.float_data.data)

    def _check_sensors(self, sensors: Sequence[Observation], sizes: tuple[int, ...]) -> None:
        for index, sensor in enumerate(islice(sensors, MAX_SENSORS)):
            if sensor.compression_type != Observation.NONE or sensor.WhichOneof("observation_data") != "float_data":
                raise self._error(
                    0,
                    f"observation {index} ({sensor.name[:60]!r}) is a compressed image; images are not supported: "
                    "record vector observations, or set the sensor's compression to None and keep it small",
                )
        if not 1 <= sum(sizes) <= MAX_OBSERVATION:
            raise self._error(0, f"the observations have {sum(sizes)} numbers; expected 1 to {MAX_OBSERVATION}")

    def _add_actions(self, pair: AgentInfoActionPair, step: int) -> None:
        action, header = pair.action_info, self.header
        continuous: Sequence[float] = action.continuous_actions
        discrete: Sequence[int] = action.discrete_actions
        old = action.vector_actions_deprecated
        if not continuous and not discrete and old:
            continuous, discrete = (old, ()) if header.continuous_size else ((), self._whole(old, step))
        found, expected = (len(continuous), len(discrete)), (header.continuous_size, len(header.branch_sizes))
        if self.first and found == (0, 0):
            continuous, discrete, found = (0.0,) * expected[0], (0,) * expected[1], expected
        if found != expected:
            raise self._error(
                step,
                f"the action has {found[0]} continuous values and {found[1]} branches; expected {expected[0]} and "
                f"{expected[1]}, as the brain parameters say",
            )
        self.continuous.extend(continuous)
        self.discrete.extend(discrete)

    def _whole(self, values: Sequence[float], step: int) -> list[int]:
        if not all(value.is_integer() and abs(value) < 1 << 31 for value in values):
            raise self._error(step, f"the choices are {list(values)[:8]}; expected whole numbers")
        return [int(value) for value in values]

    def _error(self, step: int, text: str) -> RecordingError:
        return RecordingError(f"{self.source}: step {step}: {text}")

    def finish(self) -> DemoRecords:
        steps, branches = self.header.steps, len(self.header.branch_sizes)
        return DemoRecords(
            self.header,
            self.sensors,
            np.array(self.observations, dtype=np.float32).reshape(steps, -1),
            np.array(self.continuous, dtype=np.float32).reshape(steps, self.header.continuous_size),
            np.array(self.discrete, dtype=np.int64).reshape(steps, branches),
            np.array(self.masked, dtype=np.int8).reshape(steps, self.width) == 0,
            np.array(self.rewards, dtype=np.float32),
            np.array(self.done, dtype=np.int8) != 0,
        )


def _check_meta(meta: DemonstrationMeta, size: int, source: str) -> None:
    if meta.api_version not in (0, 1):
        raise RecordingError(f"{source}: demonstration format {meta.api_version}; expected 0 or 1")
    if meta.number_steps == 0:
        raise RecordingError(
            f"{source}: the header says 0 steps; expected a recording that was closed: stop the recorder or leave play "
            "mode before copying the file"
        )
    # A step takes at least its length and a field.
    if not 0 < meta.number_steps <= max(0, size - BODY) // 2:
        raise RecordingError(
            f"{source}: the header says {meta.number_steps} steps, which {size} bytes cannot hold; is it cut short?"
        )


def action_sizes(brain: BrainParameters, source: str) -> tuple[int, tuple[int, ...]]:
    """Continuous size and branch sizes, from the action spec or, in version 0, from the fields before it."""
    if brain.HasField("action_spec"):
        spec = brain.action_spec
        continuous, branches = spec.num_continuous_actions, tuple(spec.discrete_branch_sizes)
        if len(branches) != spec.num_discrete_actions:
            raise RecordingError(
                f"{source}: the brain parameters name {spec.num_discrete_actions} branches and {len(branches)} sizes"
            )
    else:
        sizes = tuple(brain.vector_action_size_deprecated)
        is_continuous = brain.vector_action_space_type_deprecated == BrainParameters.CONTINUOUS
        continuous, branches = (sizes[0] if sizes else 0, ()) if is_continuous else (0, sizes)
    check_branch_sizes(branches, source)
    if not 0 <= continuous <= MAX_CONTINUOUS or continuous + len(branches) == 0:
        raise RecordingError(
            f"{source}: the brain parameters name {continuous} continuous actions and {len(branches)} branches; "
            f"expected at least one action, and at most {MAX_CONTINUOUS} continuous ones"
        )
    return continuous, branches
