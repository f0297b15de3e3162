"""A group of a stream: NPCs of one archetype under the client's own numbers, ready to act."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from npcmeta.types import ActionSpec
from npcmeta_server import tensors
from npcmeta_server.acting import noise
from npcmeta_server.acting.policy import Frame
from npcmeta_server.catalog import Hosted
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import tensor_pb2
from npcmeta_server.seating import Acting


class Deciding(NamedTuple):
    """Who decides in a frame: a row of the bank and a seed for each."""

    npcs: Sequence[str]  # their names, or some of them, for error messages
    rows: np.ndarray  # [n] int64
    seeds: np.ndarray  # [n] uint64


class Group:
    """Members by index."""

    def __init__(self, hosted: Hosted) -> None:
        """Begins empty."""
        self.hosted, self.sampled = hosted, False
        self._members: dict[int, Acting] = {}
        self._found: tuple[np.ndarray, Deciding] | None = None  # who was asked for last, and what was found
        self._sort()

    @property
    def archetype(self) -> str:
        """The archetype's name."""
        return self.hosted.archetype.name

    @property
    def indices(self) -> list[int]:
        """The indices in use, in order."""
        return self._indices.tolist()

    def __contains__(self, index: int) -> bool:
        """Whether an index is in use."""
        return index in self._members

    def __len__(self) -> int:
        """How many members there are."""
        return len(self._members)

    def add(self, members: Iterable[tuple[int, Acting]]) -> list[Acting]:
        """Gives indices to NPCs; returns those who had them before."""
        replaced = []
        for index, acting in members:
            if (before := self._members.get(index)) is not None:
                replaced.append(before)
            self._members[index] = acting
        self._sort()
        return replaced

    def remove(self, indices: Iterable[int]) -> list[Acting]:
        """Takes members out and returns them; raises NOT_IN_CAST, with nothing changed, if one is not there."""
        wanted = list(dict.fromkeys(indices))
        for index in wanted:
            if index not in self._members:
                raise _not_in_cast(index)
        removed = [self._members.pop(index) for index in wanted]
        self._sort()
        return removed

    def clear(self) -> list[Acting]:
        """Takes everybody out."""
        return self.remove(self.indices)

    def find(self, indices: Sequence[int]) -> Deciding:
        """Who decides, or NOT_IN_CAST."""
        wanted = np.asarray(indices, np.int64)
        if self._found is None or not np.array_equal(wanted, self._found[0]):
            self._found = wanted, self._find(wanted)
        return self._found[1]  # mostly what was found before: a game asks for the same NPCs in frame after frame

    def _find(self, wanted: np.ndarray) -> Deciding:
        at = np.minimum(np.searchsorted(self._indices, wanted), max(0, len(self._indices) - 1))
        if not len(self._indices) and len(wanted):
            raise _not_in_cast(int(wanted[0]))
        missing = self._indices[at] != wanted if len(wanted) else np.zeros(0, bool)
        if missing.any():
            raise _not_in_cast(int(wanted[missing.argmax()]))
        first = [self._members[int(index)].npc for index in wanted[:1]]
        return Deciding(first, self._rows[at], self._seeds[at])

    def _sort(self) -> None:
        count, members = len(self._members), self._members.values()
        indices = np.fromiter(self._members, np.int64, count)
        order = indices.argsort()
        self._found = None
        self._indices = indices[order]
        self._rows = np.fromiter((acting.row for acting in members), np.int64, count)[order]
        self._seeds = np.fromiter((acting.seed for acting in members), np.uint64, count)[order]


def read_frame(
    hosted: Hosted,
    deciding: Deciding,
    observations: tensor_pb2.Tensor,
    mask: tensor_pb2.Tensor | None,
    number: int | None,
) -> Frame:
    """Checks what came for a frame, and draws its noise; without a `number` the most likely actions are wanted.

    Raises:
        ServiceError: INVALID_TENSOR.
    """
    spec, count = hosted.archetype.spec, len(deciding.rows)
    seen = tensors.observations(observations, spec, hosted.archetype.name, deciding.npcs[0] if deciding.npcs else "")
    if len(seen) != count:
        raise ServiceError(
            "INVALID_TENSOR",
            f"observations have {len(seen)} rows, expected {count}, one for each NPC",
            field="observations",
        )
    return Frame(deciding.rows, seen, tensors.action_mask(mask, spec, count), _noise(spec.action, deciding, number))


def _noise(action: ActionSpec, deciding: Deciding, number: int | None) -> np.ndarray:
    if number is None:
        return np.zeros((len(deciding.rows), action.continuous_size + action.mask_size), np.float32)
    return noise.draw(deciding.seeds, number, action.continuous_size, action.mask_size)


def _not_in_cast(index: int) -> ServiceError:
    return ServiceError("NOT_IN_CAST", f"index {index} is not in the group's cast; send a Cast first", index=index)
