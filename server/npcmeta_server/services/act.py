"""ActService: decisions, frame by frame."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import numpy as np

from npcmeta_server import metrics, names, tensors
from npcmeta_server.casting.group import Deciding, read_frame
from npcmeta_server.casting.stage import Stage
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import act_pb2
from npcmeta_server.limits import MAX_ROWS
from npcmeta_server.roster import Roster
from npcmeta_server.seating import Acting
from npcmeta_server.services.stopping import until


class Act:
    """Answers ActService."""

    def __init__(self, roster: Roster, stopping: asyncio.Event) -> None:
        """Once `stopping` is set, streams are asked to reconnect."""
        self._roster, self._stopping = roster, stopping

    async def act(self, requests: AsyncIterator[act_pb2.ActRequest]) -> AsyncIterator[act_pb2.ActResponse]:
        """One response for each request, in order."""
        async with until(self._stopping, requests) as asked:
            with contextlib.closing(Stage(self._roster)) as stage:
                async for request in asked:
                    kind = request.WhichOneof("request")
                    if kind == "tick":
                        response = act_pb2.ActResponse()
                        with metrics.FRAME_SECONDS.time():
                            await stage.tick(request.tick, response.tick)
                        yield response
                    elif kind == "cast":
                        yield act_pb2.ActResponse(cast=await stage.cast(request.cast))
                    else:
                        raise ServiceError("INVALID_STREAM", "an ActRequest was empty, expected a cast or a tick")

    async def act_once(self, request: act_pb2.ActOnceRequest) -> act_pb2.ActOnceResponse:
        """One frame of some NPCs of an archetype."""
        with metrics.FRAME_SECONDS.time():
            return await self._act_once(request)

    async def _act_once(self, request: act_pb2.ActOnceRequest) -> act_pb2.ActOnceResponse:
        hosted = await self._roster.offered(names.archetype_id(request.archetype, "archetype"))
        archetype = hosted.archetype.name
        if not 0 < len(request.npcs) <= MAX_ROWS:
            raise ServiceError("TOO_MANY", f"{len(request.npcs)} npcs, expected 1 to {MAX_ROWS}", limit=MAX_ROWS)
        found = await self._roster.acquire(archetype, [names.npc_id(name, "npcs") for name in request.npcs])
        try:
            mask = request.action_mask if request.HasField("action_mask") else None
            number = request.number if request.sampled else None
            frame = read_frame(hosted, _deciding(found), request.observations, mask, number)
            decided = await self._roster.act(archetype, frame)
        finally:
            self._roster.release(archetype, found)
        if not decided.revisions.all():
            gone = request.npcs[int((decided.revisions == 0).argmax())]
            raise ServiceError("NPC_NOT_FOUND", f"{gone} was deleted meanwhile", npc=gone)
        response = act_pb2.ActOnceResponse(archetype_revision=hosted.archetype.revision)
        if decided.continuous.shape[1]:
            tensors.write(decided.continuous, response.continuous_actions)
        if decided.discrete.shape[1]:
            tensors.write(decided.discrete, response.discrete_actions)
        response.revisions.extend(decided.revisions.tolist())
        return response


def _deciding(found: list[Acting | ServiceError]) -> Deciding:
    """Who decides; raises the error of the first NPC that cannot."""
    acting = []
    for entry in found:
        if isinstance(entry, ServiceError):
            raise entry
        acting.append(entry)
    rows = np.array([entry.row for entry in acting], np.int64)
    seeds = np.array([entry.seed for entry in acting], np.uint64)
    return Deciding([entry.npc for entry in acting[:1]], rows, seeds)
