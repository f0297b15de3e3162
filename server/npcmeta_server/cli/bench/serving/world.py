"""What is asked for: NPCs, frames and lessons. Without torch, so that the load generator starts at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from npcmeta_server.gen.npcmeta.v1 import act_pb2, adapt_pb2, tensor_pb2

NAME = "bench"
OBSERVATION, CONTINUOUS, BRANCHES = 64, 2, (3, 4, 2)
SHOTS = 50
PADDED = "npc-{:05}"


class Work(NamedTuple):
    """How much is measured."""

    small: int = 200  # NPCs in a frame
    large: int = 1000
    block: int = 20  # frames of one contender before the next one's turn
    pairs: int = 5  # of a run with adaptation and a run with an unrelated process
    pair_seconds: float = 6.0
    lessons: int = 12  # one by one in each round; beside each the floor
    clients: int = 64  # who adapt at the same time
    crowd: int = 3  # lessons of each of them


def npc(number: int) -> str:
    """The id of an NPC."""
    return PADDED.format(number)


def opening(members: int) -> bytes:
    """The cast with which a stream begins: one group."""
    named = [act_pb2.Member(index=index, npc=f"npcs/{npc(index)}") for index in range(members)]
    group = act_pb2.Group(group=0, archetype=f"archetypes/{NAME}", members=named)
    return act_pb2.ActRequest(cast=act_pb2.Cast(groups=[group])).SerializeToString()


def frame(rows: int, number: int = 1) -> bytes:
    """A tick in which the first NPCs of the cast decide; they see the same in every frame."""
    part = act_pb2.Part(group=0, indices=range(rows), observations=tensor(observations(rows)))
    return act_pb2.ActRequest(tick=act_pb2.Tick(number=number, parts=[part])).SerializeToString()


def reply(rows: int) -> bytes:
    """An answer as long as that of a server that decides."""
    part = act_pb2.PartResult(
        group=0,
        indices=range(rows),
        continuous_actions=tensor(np.zeros((rows, CONTINUOUS), np.float32)),
        discrete_actions=tensor(np.zeros((rows, len(BRANCHES)), np.int64)),
        revisions=[1] * rows,
    )
    return act_pb2.ActResponse(tick=act_pb2.TickResult(number=1, parts=[part])).SerializeToString()


def tensor(values: np.ndarray) -> tensor_pb2.Tensor:
    """An array on the wire."""
    kind = tensor_pb2.FLOAT32 if values.dtype == np.float32 else tensor_pb2.INT64
    return tensor_pb2.Tensor(data_type=kind, shape=values.shape, data=values.tobytes())


def observations(rows: int, seed: int = 0) -> np.ndarray:
    """What NPCs see, [rows, O]."""
    values: np.ndarray = np.random.default_rng(seed).standard_normal((rows, OBSERVATION)).astype(np.float32)
    return values


def examples(seed: int) -> tensor_pb2.Examples:
    """A demonstration of fifty steps."""
    rng = np.random.default_rng(seed)
    moves = rng.uniform(-1, 1, (SHOTS, CONTINUOUS)).astype(np.float32)
    choices = np.stack([rng.integers(0, size, SHOTS) for size in BRANCHES], 1)
    return tensor_pb2.Examples(
        observations=tensor(observations(SHOTS, seed)),
        continuous_actions=tensor(moves),
        discrete_actions=tensor(choices),
    )


def lesson(number: int, seed: int) -> adapt_pb2.AdaptOnceRequest:
    """Adapts an NPC afresh to a demonstration."""
    setup = adapt_pb2.AdaptSetup(npc=f"npcs/{npc(number)}", from_scratch=True)
    return adapt_pb2.AdaptOnceRequest(setup=setup, examples=[examples(seed)])
