"""Behaviours of a Unity game: which archetype drives them, what their NPCs are called, and whether the two fit."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

from npcmeta.recordings.demo_records import action_sizes
from npcmeta.recordings.gen.mlagents_demo.demo_pb2 import BrainParameters
from npcmeta.recordings.recording import RecordingError
from npcmeta_server.catalog import Hosted
from npcmeta_server.errors import ServiceError
from npcmeta_server.roster import Roster

MAX_ID = 40
"""Characters of a behaviour's name that its NPCs' names take over."""
MAX_SHOWN = 80


class Behavior(NamedTuple):
    """A behaviour as Unity names it, "Guard?team=1"."""

    name: str  # "Guard"
    team: int

    @property
    def id(self) -> str:
        """The name as an id may be: lower case, anything but letters, digits, - and _ as one -."""
        return re.sub(r"[^a-z0-9_-]+", "-", self.name.lower()).strip("-_")[:MAX_ID]

    def npc(self, number: int) -> str:
        """The id of the NPC that plays the agent of a number."""
        return f"{self.id}-{number}" if self.team == 0 else f"{self.id}-team{self.team}-{number}"


def parse(full_name: str) -> Behavior:
    """The parts of a behaviour's full name."""
    name, _, query = full_name.partition("?")
    team = re.fullmatch(r"team=(\d{1,6})", query) if query else None
    behavior = Behavior(name, int(team[1]) if team else 0)
    if not behavior.id or (query and not team):
        raise ServiceError(
            "INVALID_NAME",
            f'a behaviour is called "{full_name[:MAX_SHOWN]}", expected a name with letters or digits, and '
            "?team=NUMBER behind it if there are teams; change Behavior Name of its Behavior Parameters",
        )
    return behavior


async def archetype_of(behavior: Behavior, named: Mapping[str, str], roster: Roster) -> Hosted | None:
    """What drives a behaviour: what was said for its name, else the archetype of its id; None if it was to be nobody.

    Raises:
        ServiceError: ARCHETYPE_NOT_FOUND, with the ways out.
    """
    wanted = named.get(behavior.name, behavior.id)
    if not wanted:
        return None
    try:
        return await roster.offered(wanted)
    except ServiceError as error:
        raise ServiceError(
            error.reason,
            f'behaviour "{behavior.name[:MAX_SHOWN]}": {error.message}; serve with --mlagents-behaviors '
            f'"{behavior.name[:MAX_SHOWN]}=ARCHETYPE", or with nothing behind = to let its agents stand still',
            archetype=wanted,
        ) from error


async def without_archetype(named: Mapping[str, str], roster: Roster) -> AsyncIterator[str]:
    """What is wrong, for each behaviour that was named an archetype that is not offered, or not yet."""
    for name in named:
        try:
            await archetype_of(Behavior(name, 0), named, roster)
        except ServiceError as error:
            yield error.message


def check(brain: BrainParameters, behavior: Behavior, hosted: Hosted) -> None:
    """Raises SPEC_MISMATCH if a behaviour decides other actions than its archetype."""
    try:
        found = action_sizes(brain, f'behaviour "{behavior.name[:MAX_SHOWN]}"')
    except RecordingError as error:
        raise ServiceError("SPEC_MISMATCH", str(error)) from error
    expected = hosted.archetype.spec.action
    if found != (expected.continuous_size, expected.branch_sizes):
        raise mismatch(behavior, hosted, _actions(*found), _actions(*expected), "actions")


def mismatch(behavior: Behavior, hosted: Hosted, found: str, expected: str, what: str) -> ServiceError:
    """Says what a behaviour has and what its archetype was trained with."""
    return ServiceError(
        "SPEC_MISMATCH",
        f'behaviour "{behavior.name[:MAX_SHOWN]}" has {found}, archetype "{hosted.archetype.name}" expects {expected}; '
        f"check the {what} of its Behavior Parameters, or train an archetype for it",
        archetype=hosted.archetype.name,
    )


def _actions(continuous: int, branches: tuple[int, ...]) -> str:
    return f"{continuous} continuous actions and branches of {list(branches)} choices"
