"""A stream's stage: whoever is acquired is released once, and what is refused changes nothing else."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from google.rpc import status_pb2

from npcmeta_server import tensors
from npcmeta_server.acting.policy import Decisions, Frame
from npcmeta_server.casting import stage
from npcmeta_server.casting.stage import Stage
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import act_pb2
from npcmeta_server.limits import MAX_ROWS
from npcmeta_server.seating import Acting
from tests import toys
from tests.server.client import cast, group, info_of, observations, part, tick


class CountingRoster:
    """Knows every NPC but "nobody", and counts who is acquired."""

    def __init__(self) -> None:
        self.held: Counter[str] = Counter()
        self.gone: set[int] = set()
        self.frames: list[Frame] = []
        self.streams = 0

    async def offered(self, archetype: str) -> Any:
        if archetype == "dragon":
            raise ServiceError("ARCHETYPE_NOT_FOUND", "there is no archetypes/dragon")
        return SimpleNamespace(archetype=SimpleNamespace(name=archetype, revision="r", spec=toys.spec("mixed")))

    async def acquire(self, archetype: str, npcs: Sequence[str]) -> list[Acting | ServiceError]:
        await asyncio.sleep(0)
        found: list[Acting | ServiceError] = []
        for npc in npcs:
            if npc == "nobody":
                found.append(ServiceError("NPC_NOT_FOUND", "there is no npcs/nobody"))
            else:
                self.held[npc] += 1
                found.append(Acting(npc, int(npc[1:]), int(npc[1:])))
        return found

    def release(self, archetype: str, found: Sequence[Acting | ServiceError]) -> None:
        self.held.subtract(entry.npc for entry in found if isinstance(entry, Acting))

    async def act(self, archetype: str, frame: Frame, *, alone: bool = False) -> Decisions:
        self.frames.append(frame)
        revisions = np.array([0 if row in self.gone else 1 for row in frame.rows])
        return Decisions(frame.observations[:, :2], np.zeros((len(revisions), 2), np.int64), revisions)

    def acting(self) -> dict[str, int]:
        return {npc: count for npc, count in self.held.items() if count}


@pytest.fixture
def roster() -> CountingRoster:
    return CountingRoster()


@pytest.fixture
def played(roster: CountingRoster) -> Stage:
    return Stage(roster)  # type: ignore[arg-type]


async def decided(played: Stage, wanted: act_pb2.Tick) -> act_pb2.TickResult:
    result = act_pb2.TickResult()
    await played.tick(wanted, result)
    return result


def members(*numbers: int, first: int = 0) -> dict[int, str]:
    return {first + i: f"npcs/n{number}" for i, number in enumerate(numbers)}


def reason(status: status_pb2.Status) -> str:
    return info_of(status).reason


async def test_an_index_that_is_given_anew_lets_its_npc_go(roster: CountingRoster, played: Stage) -> None:
    await played.cast(cast(group(1, "guard", members(10, 11))).cast)
    twice = group(1, "", members(12))
    twice.members.extend(group(1, "", members(13)).members)
    [result] = (await played.cast(cast(twice).cast)).groups
    assert list(result.indices) == [0, 1]
    assert roster.acting() == {"n13": 1, "n11": 1}
    frame = (await decided(played, tick(1, part(1, [1, 0, 1], observations(3))).tick)).parts[0]
    assert list(frame.revisions) == [1, 1, 1]
    assert roster.frames[-1].rows.tolist() == [11, 13, 11]
    played.close()
    assert roster.acting() == {}


async def test_members_and_groups_are_refused_each_alone(roster: CountingRoster, played: Stage) -> None:
    wanted = group(1, "guard", {0: "npcs/n1", 1: "npcs/nobody", 2: "bob", 1_000_000: "npcs/n2"})
    answer = await played.cast(
        cast(wanted, group(2, "dragon", members(3)), group(3, "", members(4)), group(4, "scout", members(5))).cast
    )
    first, dragon, nameless, last = answer.groups
    assert list(first.indices) == [0]
    assert {each.index: reason(each.status) for each in first.refused} == {
        1: "NPC_NOT_FOUND",
        2: "INVALID_NAME",
        1_000_000: "INVALID_ARGUMENT",
    }
    assert (reason(dragon.status), reason(nameless.status)) == ("ARCHETYPE_NOT_FOUND", "INVALID_NAME")
    assert list(last.indices) == [0]
    [other] = (await played.cast(cast(group(4, "guard", members(6))).cast)).groups
    assert reason(other.status) == "WRONG_ARCHETYPE"
    assert roster.acting() == {"n1": 1, "n5": 1}


async def test_a_removal_is_carried_out_as_a_whole_or_not_at_all(roster: CountingRoster, played: Stage) -> None:
    await played.cast(cast(group(1, "guard", members(1, 2, 3))).cast)
    removals = [
        act_pb2.Removal(group=1, indices=[0, 7]),
        act_pb2.Removal(group=1, indices=[2, 2]),
        act_pb2.Removal(group=9),
    ]
    refused, done, unknown = (await played.cast(act_pb2.Cast(removals=removals))).groups
    assert (reason(refused.status), list(done.indices), reason(unknown.status)) == (
        "NOT_IN_CAST",
        [0, 1],
        "GROUP_NOT_FOUND",
    )
    assert roster.acting() == {"n1": 1, "n2": 1}
    # A group that is removed and made again in one cast is a new one, of any archetype.
    [gone, made] = (
        await played.cast(cast(group(1, "scout", members(8)), removals=[act_pb2.Removal(group=1)]).cast)
    ).groups
    assert (list(gone.indices), made.archetype, list(made.indices)) == ([], "archetypes/scout", [0])
    assert roster.acting() == {"n8": 1}


async def test_a_cast_of_many_changes_is_refused_and_one_of_many_members_lets_others_act(
    roster: CountingRoster, played: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    removals = [act_pb2.Removal(group=1)] * (stage.MAX_CHANGES + 1)
    answer = await played.cast(act_pb2.Cast(removals=removals))
    assert {reason(each.status) for each in answer.groups} == {"TOO_MANY"}
    await played.cast(cast(group(1, "guard", members(*range(500)))).cast)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    await played.cast(act_pb2.Cast(removals=[act_pb2.Removal(group=1, indices=[i]) for i in range(200)]))
    beside.cancel()
    assert turns >= 200
    monkeypatch.setattr(stage, "MAX_MEMBERS", 310)
    again, too_many = (await played.cast(cast(group(1, "", members(*range(300), first=200)),
                                              group(2, "guard", members(*range(11)))).cast)).groups  # fmt: skip
    assert (len(again.indices), reason(too_many.status)) == (300, "TOO_MANY")
    monkeypatch.setattr(stage, "MAX_MEMBERS_AT_ONCE", 5)
    [at_once] = (await played.cast(cast(group(1, "", members(1, 2, 3, 4, 5, 6))).cast)).groups
    assert reason(at_once.status) == "TOO_MANY"
    played.close()
    assert roster.acting() == {}


async def test_parts_fail_alone_and_say_why(roster: CountingRoster, played: Stage) -> None:
    await played.cast(cast(group(1, "guard", members(1, 2, 3))).cast)
    roster.gone.add(2)
    bad_mask = part(1, [0], observations(1))
    bad_mask.action_mask.CopyFrom(tensors.write(np.ones((1, 5), np.int64)))
    parts = [
        part(1, [0], observations(1)),
        part(1, [0, 1], observations(2)),  # was deleted
        part(1, [0, 2], observations(1)),
        part(1, [0], observations(1)[:, :2]),
        part(2, [0], observations(1)),
        part(1, [5], observations(1)),
        bad_mask,
        part(1, [], observations(0)),
    ]
    answer = await decided(played, tick(7, *parts).tick)
    assert answer.number == 7
    assert [reason(each.status) if each.HasField("status") else "" for each in answer.parts] == [
        "",
        "NPC_NOT_FOUND",
        "INVALID_TENSOR",
        "INVALID_TENSOR",
        "GROUP_NOT_FOUND",
        "NOT_IN_CAST",
        "INVALID_TENSOR",
        "",
    ]
    assert "check the sensors of npcs/n1" in answer.parts[3].status.message
    whole = await decided(played, tick(8, part(1, [0] * (MAX_ROWS + 1), observations(1))).tick)
    assert reason(whole.parts[0].status) == "TOO_MANY"


async def test_a_stream_that_ends_at_any_moment_of_any_casts_holds_nobody(
    roster: CountingRoster, played: Stage
) -> None:
    chance = random.Random(0)
    for _ in range(200):
        streams = [Stage(roster) for _ in range(2)]  # type: ignore[arg-type]

        async def play(one: Stage) -> None:
            for _ in range(4):
                some = {chance.randrange(4): f"npcs/n{chance.randrange(3)}" for _ in range(3)}
                removal = act_pb2.Removal(group=chance.randrange(2), indices=[0] * chance.randrange(2))
                await one.cast(cast(group(chance.randrange(2), "guard", some), removals=[removal]).cast)

        tasks = [asyncio.create_task(play(one)) for one in streams]
        for _ in range(chance.randrange(9)):
            await asyncio.sleep(0)
        for task, one in zip(tasks, streams, strict=True):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            one.close()
    assert roster.acting() == {}
