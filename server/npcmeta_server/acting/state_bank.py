"""The state bank: one row of acting state for each resident NPC, in preallocated arrays."""

from __future__ import annotations

import numpy as np

from npcmeta.types import Params
from npcmeta_server.errors import ServiceError


class StateBank:
    """Rows of acting state of one archetype revision; a cache of what the store holds.

    The bank belongs to the acting thread: nothing else may call it, so a frame sees an NPC's old state or its new one,
    never a mixture, and a new state is simply written over the old one. Rows that somebody has acquired stay where they
    are; of the others, those that were idle for longest make room when the bank is full.
    """

    def __init__(self, example: Params, max_bytes: int) -> None:
        """Makes a bank for states shaped like `example` (with a task axis of 1) that takes at most `max_bytes`.

        Raises:
            ValueError: If the machine cannot promise that much memory.
        """
        self.bytes_per_npc = sum(value.numpy().nbytes for value in example.values())
        rows = max(1, max_bytes // max(1, self.bytes_per_npc))
        try:
            # Zeros take memory only where something was written: an empty bank is small, and a full one is not copied.
            self._arrays = {k: np.zeros((rows, *value.shape[1:]), value.numpy().dtype) for k, value in example.items()}
            self._revisions, self._seeds = np.zeros(rows, np.int64), np.zeros(rows, np.uint64)
            self._users = np.zeros(rows, np.int64)
        except (MemoryError, ValueError) as error:
            raise ValueError(
                f"a bank of {max_bytes >> 20} MiB is more than this machine can promise ({error}); "
                "serve with a smaller --bank-mebibytes"
            ) from error
        self._begun = 0  # rows from here on have never been used
        self._free: list[int] = []
        self._row_of: dict[str, int] = {}
        self._idle: dict[str, int] = {}

    def __len__(self) -> int:
        """How many NPCs are resident."""
        return len(self._row_of)

    def __contains__(self, npc: str) -> bool:
        """Whether an NPC is resident."""
        return npc in self._row_of

    def put(self, npc: str, revision: int, seed: int, state: Params) -> None:
        """Makes an NPC resident.

        Raises:
            ServiceError: TOO_MANY, if every row is in use.
        """
        row = self._take_row()
        self._row_of[npc] = self._idle[npc] = row
        self._seeds[row] = seed
        self._write(row, revision, state)

    def renew(self, npc: str, revision: int, state: Params) -> None:
        """Lets a new revision act from the next frame on, if the NPC is resident."""
        if (row := self._row_of.get(npc)) is not None:
            self._write(row, revision, state)

    def acquire(self, npc: str) -> int | None:
        """The row of a resident NPC, which keeps its place until it is released; None if it is not resident."""
        row = self._row_of.get(npc)
        if row is not None:
            self._idle.pop(npc, None)
            self._users[row] += 1
        return row

    def release(self, npcs: list[str], rows: list[int]) -> None:
        """Gives back what `acquire` gave."""
        for npc, row in zip(npcs, rows, strict=True):
            self._users[row] -= 1
            if self._users[row]:
                continue
            if self._row_of.get(npc) == row:
                self._idle[npc] = row
            else:
                self._free.append(row)

    def remove(self, npc: str) -> None:
        """Forgets an NPC. Whoever acquired its row finds revision 0 there."""
        row = self._row_of.pop(npc, None)
        if row is None:
            return
        self._revisions[row] = 0
        if self._idle.pop(npc, None) is not None:
            self._free.append(row)

    def revisions(self, rows: np.ndarray) -> np.ndarray:
        """The number of the revision in each row; 0 where the NPC was deleted."""
        return self._revisions[rows]

    def seed(self, row: int) -> int:
        """The seed of the NPC in a row."""
        return int(self._seeds[row])

    def gather(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The states of the given rows, as inputs of the policy graph. Contiguous rows cost no copy."""
        if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
            return {f"state.{key}": array[rows[0] : rows[-1] + 1] for key, array in self._arrays.items()}
        return {f"state.{key}": array.take(rows, 0) for key, array in self._arrays.items()}

    def _write(self, row: int, revision: int, state: Params) -> None:
        for key, array in self._arrays.items():
            array[row] = state[key][0].numpy()
        self._revisions[row] = revision

    def _take_row(self) -> int:
        if not self._free and self._begun < len(self._users):
            self._begun += 1  # NPCs that come one after another lie one behind another
            return self._begun - 1
        if not self._free and self._idle:
            self.remove(next(iter(self._idle)))
        if not self._free:
            raise ServiceError(
                "TOO_MANY",
                f"{len(self._users)} NPCs of this archetype are acting, which is all that fit in memory; remove some "
                "from their casts, or serve with a larger --bank-mebibytes",
                limit=len(self._users),
            )
        return self._free.pop()
