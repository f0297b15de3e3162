"""The state bank: a row for each resident NPC of an archetype, whichever revision of it the NPC acts with."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from npcmeta.types import Params
from npcmeta_server.acting.shelf import Shelf
from npcmeta_server.errors import ServiceError

FIRST = ""
"""The archetype revision of a bank for one alone."""


class StateBank:
    """Rows of acting state of one archetype; a cache of what the store holds.

    The bank belongs to the acting thread: nothing else may call it, so a frame sees an NPC's old state or its new one,
    never a mixture, and a new state is simply written over the old one. Rows that somebody has acquired stay where they
    are; of the others, those that were idle for longest make room when the bank is full. Behind a row stands a place on
    the shelf of an archetype revision: an NPC that moves to another revision keeps its row and changes its place.
    """

    def __init__(self, example: Params, max_bytes: int, revision: str = FIRST) -> None:
        """Makes a bank for states shaped like `example` (with a task axis of 1) that takes at most `max_bytes`.

        Raises:
            ValueError: If the machine cannot promise that much memory.
        """
        self._max_bytes, self._bytes = max_bytes, 0
        self._shelves: list[Shelf | None] = []
        self._shelf_of: dict[str, int] = {}
        self.add_shelf(revision, example)
        rows = self._shelf(0).places
        try:
            self._revisions, self._seeds = np.zeros(rows, np.int64), np.zeros(rows, np.uint64)
            self._users, self._places = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
            self._on, self._made = np.zeros(rows, np.int16), np.zeros(rows)
        except (MemoryError, ValueError) as error:
            raise ValueError(f"a bank of {rows} NPCs is more than this machine can promise ({error})") from error
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

    @property
    def bytes(self) -> int:
        """Bytes of state of all residents, exactly."""
        return self._bytes

    def add_shelf(self, revision: str, example: Params) -> None:
        """Takes states of a further archetype revision as well; raises ValueError as the constructor does."""
        if revision not in self._shelf_of:
            self._shelf_of[revision] = len(self._shelves)
            self._shelves.append(Shelf(example, self._max_bytes))

    def remove_shelf(self, revision: str) -> bool:
        """Forgets an archetype revision with its NPCs, unless somebody holds one of them; says whether it did."""
        shelf = self._shelf_of[revision]
        for npc in [npc for npc, row in self._idle.items() if self._on[row] == shelf]:
            self.remove(npc)
        if len(self._shelf(shelf)):
            return False
        self._shelves[shelf] = None
        del self._shelf_of[revision]
        return True

    def made(self, npcs: Iterable[str]) -> dict[str, float]:
        """When the acting revisions of those were made that are resident."""
        return {npc: float(self._made[row]) for npc in npcs if (row := self._row_of.get(npc)) is not None}

    def put(
        self, npc: str, revision: int, seed: int, state: Params, archetype_revision: str = FIRST, made: float = 0.0
    ) -> None:
        """Makes an NPC resident, with a revision that was made at a time in seconds since 1970.

        Raises:
            ServiceError: TOO_MANY, if everything is in use.
        """
        shelf = self._shelf_of[archetype_revision]
        row = self._take_row(shelf)
        self._row_of[npc] = self._idle[npc] = row
        self._seeds[row] = seed
        self._place(row, shelf)
        self._write(row, revision, state, made)

    def moves(self, npc: str, archetype_revision: str) -> bool:
        """Whether a resident NPC is of another archetype revision."""
        row = self._row_of.get(npc)
        return row is not None and self._on[row] != self._shelf_of[archetype_revision]

    def check_move(self, npc: str, archetype_revision: str) -> None:
        """Makes room for an NPC to move to an archetype revision; TOO_MANY, if everything is in use."""
        row, shelf = self._row_of.get(npc), self._shelf_of[archetype_revision]
        if row is None or self._on[row] == shelf:
            return
        self._make_room(shelf, less=self._shelf(self._on[row]).bytes_per_npc, keep=npc)

    def renew(self, npc: str, revision: int, state: Params, archetype_revision: str = FIRST, made: float = 0.0) -> None:
        """Lets a new revision act from the next frame on, if the NPC is resident; behind `check_move`, if it moves."""
        if (row := self._row_of.get(npc)) is None:
            return
        shelf = self._shelf_of[archetype_revision]
        if self._on[row] != shelf:
            self._leave(row)
            self._place(row, shelf)
        self._write(row, revision, state, made)

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
                self._give_back(row)

    def remove(self, npc: str) -> None:
        """Forgets an NPC. Whoever acquired its row finds revision 0 there."""
        row = self._row_of.pop(npc, None)
        if row is None:
            return
        self._revisions[row] = 0
        if self._idle.pop(npc, None) is not None:
            self._give_back(row)

    def revisions(self, rows: np.ndarray) -> np.ndarray:
        """The number of the revision in each row; 0 where the NPC was deleted."""
        return self._revisions[rows]

    def shelves(self, rows: np.ndarray) -> np.ndarray:
        """A number for the archetype revision of each row, as `shelf_number` gives it."""
        return self._on[rows]

    def shelf_number(self, archetype_revision: str) -> int:
        """The number of an archetype revision."""
        return self._shelf_of[archetype_revision]

    def seed(self, row: int) -> int:
        """The seed of the NPC in a row."""
        return int(self._seeds[row])

    def gather(self, rows: np.ndarray, archetype_revision: str = FIRST) -> dict[str, np.ndarray]:
        """The states of rows of one archetype revision, as inputs of its policy graph."""
        return self._shelf(self._shelf_of[archetype_revision]).gather(self._places[rows])

    def _shelf(self, number: int) -> Shelf:
        shelf = self._shelves[number]
        assert shelf is not None
        return shelf

    def _write(self, row: int, revision: int, state: Params, made: float) -> None:
        self._shelf(self._on[row]).write(self._places[row], state)
        self._revisions[row], self._made[row] = revision, made

    def _place(self, row: int, shelf: int) -> None:
        self._on[row], self._places[row] = shelf, self._shelf(shelf).take()
        self._bytes += self._shelf(shelf).bytes_per_npc

    def _leave(self, row: int) -> None:
        shelf = self._shelf(self._on[row])
        shelf.give_back(int(self._places[row]))
        self._bytes -= shelf.bytes_per_npc

    def _give_back(self, row: int) -> None:
        self._leave(row)
        self._free.append(row)

    def _take_row(self, shelf: int) -> int:
        self._make_room(shelf)
        if not self._free and self._begun < len(self._users):
            self._begun += 1  # NPCs that come one after another lie one behind another
            return self._begun - 1
        if not self._free and self._idle:
            self.remove(next(iter(self._idle)))
        if not self._free:
            raise self._all_in_use()
        return self._free.pop()

    def _make_room(self, shelf: int, less: int = 0, keep: str = "") -> None:
        """Lets the longest idle give way until one more fits on a shelf, where `less` bytes become free."""
        wanted = self._shelf(shelf)
        while (self._bytes and self._bytes - less + wanted.bytes_per_npc > self._max_bytes) or wanted.full:
            victims = (npc for npc, row in self._idle.items() if not wanted.full or self._on[row] == shelf)
            victim = next((npc for npc in victims if npc != keep), None)
            if victim is None:
                raise self._all_in_use()
            self.remove(victim)

    def _all_in_use(self) -> ServiceError:
        return ServiceError(
            "TOO_MANY",
            f"{len(self)} NPCs of this archetype are acting, which is all that fit in memory; remove some "
            "from their casts, or serve with a larger --bank-mebibytes",
            limit=len(self),
        )
