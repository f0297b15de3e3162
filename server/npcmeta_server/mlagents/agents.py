"""What agents of a behaviour saw and may do, as tensors of our wire; and what they do, as Unity takes it."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

import numpy as np

from npcmeta.recordings.gen.mlagents_demo.demo_pb2 import AgentAction, AgentInfo, Observation
from npcmeta_server.acting.policy import Decisions
from npcmeta_server.catalog import Hosted
from npcmeta_server.gen.npcmeta.v1 import tensor_pb2
from npcmeta_server.mlagents.behaviors import Behavior, mismatch


def observations(infos: Sequence[AgentInfo], behavior: Behavior, hosted: Hosted) -> tensor_pb2.Tensor:
    """The sensors of each agent one behind another, in Unity's order.

    Raises:
        ServiceError: SPEC_MISMATCH, on images, or another number of values than the archetype was trained with.
    """
    expected, values = hosted.archetype.spec.observation_size, array("f")
    for row, info in enumerate(infos, 1):
        for sensor in info.observations:
            if sensor.compression_type != Observation.NONE:
                shown = f'a compressed image in sensor "{sensor.name[:60]}" of agent {info.id}'
                raise mismatch(behavior, hosted, shown, "numbers (set its compression to None)", "sensors")
            values.extend(sensor.float_data.data)
        if len(values) != row * expected:
            sizes = [len(sensor.float_data.data) for sensor in info.observations][:16]
            shown = f"{sum(sizes)} observations of agent {info.id}, in sensors of {sizes}"
            raise mismatch(behavior, hosted, shown, str(expected), "sensors")
    return tensor_pb2.Tensor(
        data_type=tensor_pb2.FLOAT32, shape=(len(infos), expected), data=np.array(values, "<f4").tobytes()
    )


def action_mask(infos: Sequence[AgentInfo], behavior: Behavior, hosted: Hosted) -> tensor_pb2.Tensor | None:
    """What each agent may do, or None if none of them masks anything. Unity says what it may not."""
    width = hosted.archetype.spec.action.mask_size
    if not any(info.action_mask for info in infos):
        return None
    masked = bytearray()
    for info in infos:
        if len(info.action_mask) not in (0, width):
            shown = f"an action mask of {len(info.action_mask)} values of agent {info.id}"
            raise mismatch(behavior, hosted, shown, str(width), "branches")
        masked += bytes(info.action_mask) or bytes(width)
    allowed = np.frombuffer(masked, np.uint8) == 0
    return tensor_pb2.Tensor(data_type=tensor_pb2.BOOL, shape=(len(infos), width), data=allowed.tobytes())


def actions(decided: Decisions) -> Iterable[AgentAction]:
    """An action for each row, in the fields of today and in the one that games before ML-Agents 1.8 read."""
    for continuous, discrete in zip(decided.continuous.tolist(), decided.discrete.tolist(), strict=True):
        yield AgentAction(
            continuous_actions=continuous,
            discrete_actions=discrete,
            vector_actions_deprecated=[*continuous, *discrete],
        )
