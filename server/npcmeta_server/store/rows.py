"""What the store keeps, as plain rows."""

from __future__ import annotations

from typing import NamedTuple


class NpcRow(NamedTuple):
    """An NPC. Times are seconds since 1970."""

    id: str
    archetype: str
    display_name: str
    seed: int
    revision: int  # the number of the revision that acts
    examples: int  # that it was adapted from
    create_time: float
    update_time: float
    etag: str


class DemonstrationRow(NamedTuple):
    """A stored clip, without its data."""

    npc: str
    id: str
    examples: int
    create_time: float


class RevisionRow(NamedTuple):
    """A committed state, without its data."""

    npc: str
    number: int
    archetype: str
    archetype_revision: str
    examples: int
    support_nll: float
    create_time: float


class Snapshot(NamedTuple):
    """All that an NPC is by now."""

    npc: NpcRow
    revision: RevisionRow  # that acts
    state: bytes
    clips: tuple[tuple[bytes, int], ...]  # that it was adapted from, oldest first: data and number of examples


class RequestKey(NamedTuple):
    """A client's id for a request that it may send again, and a digest of what the request says."""

    id: str  # unique for each method; empty: the request is not repeatable
    digest: str


class NpcFilter(NamedTuple):
    """Which NPCs a list is to hold; what is left as it is here leaves out nobody."""

    archetype: str = ""
    text: str = ""  # in the id or in the display name; a-z and A-Z are the same
    min_examples: int = 0


ONCE = RequestKey("", "")
"""A request that will not be sent again."""


class CommitRequest(NamedTuple):
    """A new revision with all that belongs to it; written in one transaction or not at all."""

    npc: str
    expected_etag: str  # of the NPC as it was read; another one means that it was committed to, or made anew
    archetype_revision: str
    examples: int
    support_nll: float
    state: bytes
    clips: tuple[tuple[bytes, int], ...]  # new demonstrations: data and number of examples
    demonstrations: tuple[tuple[str, str], ...]  # stored ones that the revision was adapted from: npc, id
    from_scratch: bool  # False: those behind the acting revision count as well
    late_clips: tuple[tuple[bytes, int], ...] = ()  # new demonstrations that it was not adapted from
    late_demonstrations: tuple[tuple[str, str], ...] = ()  # stored ones, likewise


class Committed(NamedTuple):
    """What a commit wrote."""

    revision: RevisionRow
    clips: list[str]  # ids of the new demonstrations
    left_out: list[tuple[str, str]]  # npc and id of those that the revision was not adapted from
