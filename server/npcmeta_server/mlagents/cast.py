"""The cast of one behaviour: which NPC plays which agent, and what they decide."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from npcmeta.recordings.gen.mlagents_demo.demo_pb2 import AgentInfo
from npcmeta_server.acting.policy import Decisions, Frame
from npcmeta_server.casting.group import Deciding, Group, read_frame
from npcmeta_server.catalog import Hosted
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import tensor_pb2
from npcmeta_server.limits import MAX_ROWS
from npcmeta_server.mlagents import agents
from npcmeta_server.mlagents.behaviors import MAX_SHOWN, Behavior
from npcmeta_server.roster import Roster
from npcmeta_server.seating import Acting

Create = Callable[[str, str], Awaitable[object]]
"""Makes an NPC of an id and an archetype."""
MAX_SHOWN_AGENTS = 100


class Numbers:
    """Agents by number. Unity gives an agent a new id for each episode; the number that became free goes to that."""

    def __init__(self) -> None:
        """Begins with no agent."""
        self._of: dict[int, int] = {}
        self._free: deque[int] = deque()

    def follow(self, infos: Sequence[AgentInfo]) -> list[int]:
        """Goes through the agents of a message in order; returns the numbers of those that want to decide."""
        deciding = []
        for info in infos:
            if info.done:
                if (number := self._of.pop(info.id, None)) is not None:
                    self._free.append(number)
                continue
            if info.id not in self._of:
                self._of[info.id] = self._free.popleft() if self._free else len(self._of)
            deciding.append(self._of[info.id])
        return deciding


class Cast:
    """Everybody of one behaviour who has decided so far, ready to act."""

    def __init__(self, behavior: Behavior, hosted: Hosted, roster: Roster, create: Create, *, sampled: bool) -> None:
        """Begins empty; NPCs that there are not yet are created."""
        self._behavior, self._hosted, self._roster, self._create = behavior, hosted, roster, create
        self._numbers, self._group, self._sampled, self._frames = Numbers(), Group(hosted), sampled, 0

    def close(self) -> None:
        """Lets everybody go."""
        self._roster.release(self._group.archetype, self._group.clear())

    async def decide(self, infos: Sequence[AgentInfo]) -> Decisions | None:
        """Decides for the agents that are not done, in order; None if there are none."""
        numbers = self._numbers.follow(infos)
        if not numbers:
            return None
        if max(len(numbers), *numbers) > MAX_ROWS:
            raise ServiceError(
                "TOO_MANY",
                f'behaviour "{self._behavior.name}" has more than {MAX_ROWS} agents, or they never end an episode',
                limit=MAX_ROWS,
            )
        deciding = [info for info in infos if not info.done]
        self._frames += 1
        seen = agents.observations(deciding, self._behavior, self._hosted)
        mask = agents.action_mask(deciding, self._behavior, self._hosted)
        for _ in range(2):
            await self._seat(numbers)
            frame = self._frame(deciding, self._group.find(numbers), seen, mask)
            decided = await self._roster.act(self._group.archetype, frame)
            if decided.revisions.all():
                return decided
            # Somebody deleted an NPC that plays: it is made anew, as it would be if the game began now.
            gone = [number for number, alive in zip(numbers, decided.revisions, strict=True) if not alive]
            self._roster.release(self._group.archetype, self._group.remove(gone))
        raise ServiceError("NPC_NOT_FOUND", f"npcs/{self._behavior.npc(gone[0])} was deleted while it acted")

    def _frame(
        self, infos: Sequence[AgentInfo], deciding: Deciding, seen: tensor_pb2.Tensor, mask: tensor_pb2.Tensor | None
    ) -> Frame:
        """What is to be decided; an error names the behaviour and its agents, as Unity has no tensors and rows."""
        try:
            return read_frame(self._hosted, deciding, seen, mask, self._frames if self._sampled else None)
        except ServiceError as error:
            agents_shown = ", ".join(str(info.id) for info in infos[:MAX_SHOWN_AGENTS])
            message = (
                f'behaviour "{self._behavior.name[:MAX_SHOWN]}": {error.message}; its agents, by row: {agents_shown}'
            )
            raise ServiceError(error.reason, message, **error.metadata) from error

    async def _seat(self, numbers: Sequence[int]) -> None:
        """Takes the NPCs of new numbers in, and makes those that there are not."""
        new = [number for number in dict.fromkeys(numbers) if number not in self._group]
        if not new:
            return
        found = await self._acquire(new)
        for npc, entry in zip([self._behavior.npc(number) for number in new], found, strict=True):
            if isinstance(entry, ServiceError) and entry.reason == "NPC_NOT_FOUND":
                await self._create(npc, self._group.archetype)
        missing = [number for number, entry in zip(new, found, strict=True) if isinstance(entry, ServiceError)]
        for entry in await self._acquire(missing) if missing else []:
            if isinstance(entry, ServiceError):
                raise entry

    async def _acquire(self, numbers: Sequence[int]) -> list[Acting | ServiceError]:
        npcs = [self._behavior.npc(number) for number in numbers]
        found = await self._roster.acquire(self._group.archetype, npcs)
        seated = [(number, entry) for number, entry in zip(numbers, found, strict=True) if isinstance(entry, Acting)]
        self._roster.release(self._group.archetype, self._group.add(seated))
        return found
