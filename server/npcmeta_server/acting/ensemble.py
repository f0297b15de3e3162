"""The revisions of one archetype at work beside each other: NPCs can move from one to another between two frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from npcmeta.types import Params
from npcmeta_server.acting.policy import Decisions, Frame, Policy
from npcmeta_server.acting.state_bank import StateBank
from npcmeta_server.catalog import Hosted


class Ensemble:
    """Decides for NPCs of whichever revision. Belongs to the acting thread, but for what is said to be anybody's."""

    def __init__(self, hosted: Sequence[Hosted], max_bytes: int) -> None:
        """Loads some revisions, the first of which is the current one; their states take at most `max_bytes`."""
        first = hosted[0]
        self.name = first.archetype.name
        """The archetype's; anybody may ask for it."""
        self.spec = first.archetype.spec
        """The same of all its revisions; anybody may ask for it."""
        self.bank = StateBank(first.first_state, max_bytes, first.archetype.revision)
        self._policies: dict[str, Policy] = {}
        for each in hosted:
            self.add(Policy(each, self.bank))

    def add(self, policy: Policy) -> None:
        """Lets a further revision act, whose policy was loaded elsewhere: that takes longer than a frame."""
        revision = policy.hosted.archetype.revision
        self.bank.add_shelf(revision, policy.hosted.first_state)
        self._policies[revision] = policy

    def remove(self, revision: str) -> None:
        """Unloads a revision, unless one of its NPCs is in a cast."""
        if self.bank.remove_shelf(revision):
            del self._policies[revision]

    def has(self, revision: str) -> bool:
        """Whether a revision is loaded; anybody may ask."""
        return revision in self._policies

    @property
    def revisions(self) -> list[str]:
        """Those that are loaded; anybody may ask."""
        return list(self._policies)

    @property
    def several(self) -> bool:
        """Whether there is more than one revision; anybody may ask."""
        return len(self._policies) > 1

    def moves(self, npc: str, revision: str) -> bool:
        """Whether an NPC acts, and not with this archetype revision."""
        return self.has(revision) and self.bank.moves(npc, revision)

    def check_move(self, npc: str, revision: str) -> None:
        """Makes room for an NPC to move to an archetype revision; TOO_MANY, if there is none."""
        self.bank.check_move(npc, revision)

    def renew(self, npc: str, number: int, state: Params, revision: str, made: float = 0.0) -> None:
        """Lets a committed state of an archetype revision act from the next frame on."""
        self.bank.renew(npc, number, state, revision, made)

    def act(self, frames: Sequence[Frame]) -> list[Decisions]:
        """The decisions of some frames, which are computed together: one run for each revision."""
        if len(self._policies) == 1:
            return next(iter(self._policies.values())).act(frames)
        joined = Frame(*map(np.concatenate, zip(*frames, strict=True))) if len(frames) > 1 else frames[0]
        decided = self._each(joined)
        edges = np.cumsum([len(part.rows) for part in frames])[:-1]
        return [Decisions(*parts) for parts in zip(*(np.split(array, edges) for array in decided), strict=True)]

    def _each(self, frame: Frame) -> Decisions:
        """Decides with the revision of each row, and puts the rows back in the order in which they came."""
        parts = list(self._parts(frame))
        if len(parts) == 1:
            return parts[0][1].act([frame])[0]
        decided = [policy.act([Frame(*(array[at] for array in frame))])[0] for at, policy in parts]
        back = np.concatenate([at for at, _ in parts]).argsort()
        return Decisions(*(np.concatenate(arrays)[back] for arrays in zip(*decided, strict=True)))

    def _parts(self, frame: Frame) -> Iterator[tuple[np.ndarray, Policy]]:
        """Which rows of a frame each revision decides."""
        shelves, policies = self.bank.shelves(frame.rows), list(self._policies.items())
        for revision, policy in policies:
            at = np.flatnonzero(shelves == self.bank.shelf_number(revision))
            if len(at) or (not len(frame.rows) and policy is policies[0][1]):
                yield at, policy
