"""A stream's stage: its groups, how casts change them, and how ticks are decided."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from npcmeta_server import names, tensors
from npcmeta_server.acting.policy import Decisions
from npcmeta_server.casting.group import Group, read_frame
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import act_pb2
from npcmeta_server.limits import (
    MAX_CHANGES,
    MAX_GROUPS,
    MAX_INDEX,
    MAX_MEMBERS,
    MAX_MEMBERS_AT_ONCE,
    MAX_PARTS,
    MAX_ROWS,
)
from npcmeta_server.roster import Roster
from npcmeta_server.seating import Acting


class Stage:
    """What one Act stream has cast. Close it when the stream ends, however it ends."""

    def __init__(self, roster: Roster) -> None:
        """Begins without groups."""
        self._roster = roster
        self._groups: dict[int, Group] = {}
        roster.streams += 1

    def close(self) -> None:
        """Lets everybody go."""
        self._roster.streams -= 1
        for group in self._groups.values():
            self._roster.release(group.archetype, group.clear())
        self._groups.clear()

    async def cast(self, cast: act_pb2.Cast) -> act_pb2.CastResult:
        """Carries out removals, then additions; each is refused alone."""
        if max(len(cast.removals), len(cast.groups)) > MAX_CHANGES:
            return _refused_cast(cast)
        results = []
        for removal in cast.removals:
            results.append(self._removed(removal))
            await asyncio.sleep(0)  # in a group of thousands each takes milliseconds, in which others have to act
        for wanted in cast.groups:
            results.append(await self._added(wanted))
        return act_pb2.CastResult(groups=results)

    async def tick(self, tick: act_pb2.Tick, result: act_pb2.TickResult) -> None:
        """Decides all parts of a frame, each of which fails alone; writes into `result`, as to copy it takes time."""
        result.number = tick.number
        rows = sum(len(part.indices) for part in tick.parts)
        if len(tick.parts) > MAX_PARTS or rows > MAX_ROWS:
            result.MergeFrom(_refused_tick(tick, rows))
        elif len(tick.parts) == 1:
            await self._part(tick.parts[0], result.parts.add(), tick.number, alone=True)
        else:
            await asyncio.gather(*(self._part(part, result.parts.add(), tick.number) for part in tick.parts))

    def _removed(self, removal: act_pb2.Removal) -> act_pb2.GroupResult:
        try:
            group = self._known(removal.group)
            gone = group.remove(removal.indices) if removal.indices else group.clear()
        except ServiceError as error:
            return act_pb2.GroupResult(group=removal.group, status=error.status())
        self._roster.release(group.archetype, gone)
        if not removal.indices:
            del self._groups[removal.group]
        return _group_result(removal.group, group)

    async def _added(self, wanted: act_pb2.Group) -> act_pb2.GroupResult:
        try:
            group = await self._wanted_group(wanted)
            refused = await self._add_members(group, wanted.members)
        except ServiceError as error:
            return act_pb2.GroupResult(group=wanted.group, status=error.status())
        group.sampled = wanted.sampled
        self._groups[wanted.group] = group
        result = _group_result(wanted.group, group)
        result.refused.extend(refused)
        return result

    async def _wanted_group(self, wanted: act_pb2.Group) -> Group:
        """The group that a cast names: the one there is, or a new one in place of none or of an empty one."""
        group, archetype = self._groups.get(wanted.group), wanted.archetype
        if group is not None:
            archetype = archetype or f"archetypes/{group.archetype}"
            if archetype != f"archetypes/{group.archetype}":
                raise _wrong_archetype(wanted, group)
        elif len(self._groups) >= MAX_GROUPS:
            raise ServiceError("TOO_MANY", f"the stream has {MAX_GROUPS} groups, expected no more", limit=MAX_GROUPS)
        if not group:  # an archetype may have been retired, and come again, while nobody of it was in the group
            group = Group(await self._roster.offered(names.archetype_id(archetype, "archetype")))
        self._check_members(group, wanted)
        return group

    def _check_members(self, group: Group, wanted: act_pb2.Group) -> None:
        """Raises TOO_MANY if a cast brings too many members at once, or the stream would have too many."""
        if len(wanted.members) > MAX_MEMBERS_AT_ONCE:
            raise ServiceError(
                "TOO_MANY",
                f"{len(wanted.members)} members at once, expected at most {MAX_MEMBERS_AT_ONCE}; send several casts",
                limit=MAX_MEMBERS_AT_ONCE,
            )
        new = len({member.index for member in wanted.members if member.index not in group})
        members = new + sum(len(other) for other in self._groups.values())
        if members > MAX_MEMBERS:
            raise ServiceError("TOO_MANY", f"{members} members, expected at most {MAX_MEMBERS}", limit=MAX_MEMBERS)

    async def _add_members(self, group: Group, members: Iterable[act_pb2.Member]) -> list[act_pb2.RefusedMember]:
        refused: list[act_pb2.RefusedMember] = []
        named: list[tuple[int, str]] = []
        for member in members:
            try:
                named.append((_checked_index(member.index), names.npc_id(member.npc, "npc")))
            except ServiceError as error:
                refused.append(_refused(member.index, member.npc, error))
        found = await self._roster.acquire(group.archetype, [npc for _, npc in named])
        taken: list[tuple[int, Acting]] = []
        for (index, npc), entry in zip(named, found, strict=True):
            if isinstance(entry, Acting):
                taken.append((index, entry))
            else:
                refused.append(_refused(index, f"npcs/{npc}", entry))
        self._roster.release(group.archetype, group.add(taken))
        return refused

    async def _part(self, part: act_pb2.Part, result: act_pb2.PartResult, number: int, *, alone: bool = False) -> None:
        result.group = part.group
        try:
            group = self._known(part.group)
            deciding = group.find(part.indices)
            mask = part.action_mask if part.HasField("action_mask") else None
            drawn = number if group.sampled else None
            frame = read_frame(group.hosted, deciding, part.observations, mask, drawn)
            if len(frame.rows):
                _write(part, await self._roster.act(group.archetype, frame, alone=alone), result)
        except ServiceError as error:
            result.status.CopyFrom(error.status())

    def _known(self, number: int) -> Group:
        if number not in self._groups:
            raise ServiceError("GROUP_NOT_FOUND", f"the stream has no group {number}; send a Cast first", group=number)
        return self._groups[number]


def _refused_cast(cast: act_pb2.Cast) -> act_pb2.CastResult:
    error = ServiceError(
        "TOO_MANY",
        f"a cast with {len(cast.groups)} groups and {len(cast.removals)} removals, expected at most {MAX_CHANGES} of "
        "each; name a group once, with all of its members or indices",
        limit=MAX_CHANGES,
    )
    numbers = [removal.group for removal in cast.removals] + [group.group for group in cast.groups]
    return act_pb2.CastResult(
        groups=[act_pb2.GroupResult(group=number, status=error.status()) for number in numbers[:MAX_CHANGES]]
    )


def _refused_tick(tick: act_pb2.Tick, rows: int) -> act_pb2.TickResult:
    error = ServiceError(
        "TOO_MANY",
        f"a tick with {len(tick.parts)} parts of {rows} rows together, expected at most {MAX_PARTS} and {MAX_ROWS}; "
        "send several ticks",
    )
    parts = [act_pb2.PartResult(group=part.group, status=error.status()) for part in tick.parts[:MAX_PARTS]]
    return act_pb2.TickResult(number=tick.number, parts=parts)


def _wrong_archetype(wanted: act_pb2.Group, group: Group) -> ServiceError:
    return ServiceError(
        "WRONG_ARCHETYPE",
        f"group {wanted.group} is of archetypes/{group.archetype}, not of {wanted.archetype[:80]}; "
        "remove the group first, or use another number",
        group=wanted.group,
    )


def _group_result(number: int, group: Group) -> act_pb2.GroupResult:
    return act_pb2.GroupResult(
        group=number,
        archetype=f"archetypes/{group.archetype}",
        archetype_revision=group.hosted.archetype.revision,
        indices=group.indices,
    )


def _write(part: act_pb2.Part, decided: Decisions, result: act_pb2.PartResult) -> None:
    if not decided.revisions.all():
        index = part.indices[int((decided.revisions == 0).argmax())]
        raise ServiceError(
            "NPC_NOT_FOUND", f"the NPC of index {index} was deleted; remove it from the cast", index=index
        )
    result.indices.extend(part.indices)
    if decided.continuous.shape[1]:
        tensors.write(decided.continuous, result.continuous_actions)
    if decided.discrete.shape[1]:
        tensors.write(decided.discrete, result.discrete_actions)
    result.revisions.extend(decided.revisions.tolist())


def _refused(index: int, npc: str, error: ServiceError) -> act_pb2.RefusedMember:
    return act_pb2.RefusedMember(index=index, npc=npc[:80], status=error.status())


def _checked_index(index: int) -> int:
    if index > MAX_INDEX:
        raise ServiceError("INVALID_ARGUMENT", f"index is {index}, expected at most {MAX_INDEX}", field="index")
    return index
