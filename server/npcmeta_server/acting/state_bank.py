"""The state bank: one row of acting state for each resident NPC, in preallocated arrays."""

from __future__ import annotations

import numpy as np

from npcmeta.types import Params


class StateBank:
    """Rows of acting state of one archetype revision.

    A new revision of an NPC is written to a fresh row, and then the NPC's index is flipped to it: a frame that
    gathers rows meanwhile sees the old state or the new one, never a mixture. Rows given up are used again only
    after `recycle`, which the acting thread calls between frames.
    """

    def __init__(self, example: Params, capacity: int = 256) -> None:
        """Makes a bank for states shaped like `example` (with a task axis of 1)."""
        self._arrays = {
            key: np.zeros((capacity, *value.shape[1:]), value.numpy().dtype) for key, value in example.items()
        }
        self._capacity = capacity
        self._free = list(range(capacity - 1, -1, -1))
        self._retired: list[int] = []
        self._row_of: dict[str, int] = {}
        self._revision_of: dict[str, int] = {}

    @property
    def bytes_per_npc(self) -> int:
        """Bytes of one row."""
        return sum(array[0].nbytes for array in self._arrays.values())

    def __contains__(self, npc: str) -> bool:
        """Whether an NPC is resident."""
        return npc in self._row_of

    def __len__(self) -> int:
        """How many NPCs are resident."""
        return len(self._row_of)

    def put(self, npc: str, revision: int, state: Params) -> None:
        """Makes a revision the one that acts; older revisions than the resident one are ignored."""
        if self._revision_of.get(npc, 0) >= revision:
            return
        row = self._take_row()
        for key, array in self._arrays.items():
            array[row] = state[key][0].numpy()
        before = self._row_of.get(npc)
        self._row_of[npc], self._revision_of[npc] = row, revision
        if before is not None:
            self._retired.append(before)

    def remove(self, npc: str) -> None:
        """Forgets an NPC."""
        if npc in self._row_of:
            self._retired.append(self._row_of.pop(npc))
            del self._revision_of[npc]

    def find(self, npcs: list[str]) -> tuple[np.ndarray, list[int]]:
        """Rows [n] and revision numbers of resident NPCs; raises KeyError for one that is not."""
        rows = np.fromiter((self._row_of[npc] for npc in npcs), np.int64, len(npcs))
        return rows, [self._revision_of[npc] for npc in npcs]

    def gather(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The states of the given rows, as inputs of the policy graph. Contiguous rows cost no copy."""
        if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
            return {f"state.{key}": array[rows[0] : rows[-1] + 1] for key, array in self._arrays.items()}
        return {f"state.{key}": array.take(rows, 0) for key, array in self._arrays.items()}

    def recycle(self) -> None:
        """Lets rows that were given up be used again; called when no frame holds rows."""
        self._free += reversed(self._retired)
        self._retired.clear()

    def _take_row(self) -> int:
        if not self._free:
            # Larger arrays replace the old ones, which a frame under way may still be reading.
            self._arrays = {key: np.concatenate([array, np.zeros_like(array)]) for key, array in self._arrays.items()}
            self._free = list(range(2 * self._capacity - 1, self._capacity - 1, -1))
            self._capacity *= 2
        return self._free.pop()
