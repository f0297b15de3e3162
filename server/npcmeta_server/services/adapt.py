"""AdaptService: from demonstrations to a committed revision."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, NamedTuple

import torch

from npcmeta_server import beside, clips, messages, names
from npcmeta_server.access.caller import caller, received
from npcmeta_server.adapting.jobs import Adapted
from npcmeta_server.adapting.lesson import Lesson
from npcmeta_server.adapting.memory import LessonMemory, Share
from npcmeta_server.adapting.pool import AdaptationPool
from npcmeta_server.catalog import Hosted
from npcmeta_server.clips import Clip
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import adapt_pb2
from npcmeta_server.limits import MAX_BUDGET_SECONDS
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.roster import Roster
from npcmeta_server.services import adapt_requests
from npcmeta_server.services.adapt_requests import NOTHING, Said
from npcmeta_server.services.adapt_responses import accepted, committed, discarded, progress, started
from npcmeta_server.services.npcs import checked_request_id
from npcmeta_server.services.stopping import until
from npcmeta_server.store import CommitRequest, Committed, NpcRow, RequestKey, Store

Shown = Clip | names.Part
"""What a stream brought: examples that are new, or the name of stored ones."""
Send = Callable[[adapt_pb2.AdaptResponse], None]


class Pupil(NamedTuple):
    """The NPC that a stream adapts, as it was when the stream began."""

    row: NpcRow
    hosted: Hosted
    known: list[Clip]  # examples that the new revision begins with
    from_scratch: bool
    request: RequestKey
    seconds: float | None  # that a commit may wait for the inner loop
    at_once: bool  # everything is there already: adapt at the end, not as it comes


class Adapt:
    """Answers AdaptService."""

    def __init__(
        self,
        roster: Roster,
        store: Store,
        storage: OwnerThread,
        pool: AdaptationPool,
        memory: LessonMemory,
        stopping: asyncio.Event,
    ) -> None:
        """Adapts in `pool`, to what fits into `memory`; commits through the roster. Once `stopping` is set, no more."""
        self._roster, self._store, self._storage, self._pool = roster, store, storage, pool
        self._memory, self._stopping = memory, stopping

    def adapt(self, requests: AsyncIterator[adapt_pb2.AdaptRequest]) -> AsyncGenerator[adapt_pb2.AdaptResponse, None]:
        """Setup, examples, commit; responses come as soon as there is something to say."""
        return self._answers(adapt_requests.streamed(requests), "")

    async def adapt_once(self, request: adapt_pb2.AdaptOnceRequest) -> AsyncIterator[adapt_pb2.AdaptResponse]:
        """The same with everything in one request: it is adapted to at the end, and a retry has to say the same."""
        with self._memory.share(caller()) as share:
            share.take(2 * received())  # as it came, and parsed
            content = await beside.run(received(), lambda: adapt_requests.digest(request))
            async with contextlib.aclosing(self._answers(adapt_requests.at_once(request), content)) as responses:
                async for response in responses:
                    yield response

    async def _answers(
        self, stream: AsyncGenerator[Said, None], content: str
    ) -> AsyncGenerator[adapt_pb2.AdaptResponse, None]:
        responses: asyncio.Queue[adapt_pb2.AdaptResponse | None] = asyncio.Queue()
        session = asyncio.create_task(self._session(stream, responses.put_nowait, content))
        session.add_done_callback(lambda _: responses.put_nowait(None))
        try:
            while (response := await responses.get()) is not None:
                yield response
            await session  # raises what ended it
        finally:
            session.cancel()
            await asyncio.gather(session, return_exceptions=True)

    async def _session(self, stream: AsyncGenerator[Said, None], send: Send, content: str) -> None:
        async with contextlib.aclosing(stream), until(self._stopping, stream) as requests:
            await self._answer(requests, send, content)

    async def _answer(self, requests: AsyncIterator[Said], send: Send, content: str) -> None:
        first: Said | None = await anext(requests, None)  # Python 3.11 fails over a tuple as the default
        kind, setup = first or NOTHING
        if kind != "setup":
            raise ServiceError("INVALID_STREAM", "the first AdaptRequest has to be a setup")
        npc = names.npc_id(setup.npc, "setup.npc")
        with self._roster.alone(npc):
            request = _request_key(npc, setup, content)
            await self._roster.reserve.know(npc)
            pupil = await self._storage.run(self._begin, npc, setup, request, bool(content))
            if not isinstance(pupil, Pupil):
                send(committed(pupil))
                return
            with self._memory.share(caller()) as share:
                share.take_clips(pupil.known)
                send(started(pupil.row, pupil.hosted.archetype.revision, pupil.known))
                await self._teach(pupil, requests, send, share)

    async def _teach(self, pupil: Pupil, requests: AsyncIterator[Said], send: Send, share: Share) -> None:
        lesson = Lesson(self._pool, pupil.hosted, pupil.row, pupil.known, lambda step: send(progress(step)), caller())
        shown: list[Shown] = []
        try:
            async for kind, said in requests:
                if kind == "commit":
                    adapted, used = await lesson.finish(pupil.seconds)
                    send(committed(await self._commit(pupil, adapted, shown[:used], shown[used:])))
                    return
                if kind == "discard":
                    await lesson.discard()
                    send(discarded(pupil.row))
                    return
                clip, kept = await self._read(pupil, kind, said)
                share.take_clips([clip])
                lesson.show(clip, more_at_once=pupil.at_once)
                shown.append(kept)
                send(accepted(clip.examples, lesson.examples))
        finally:
            await lesson.discard()

    async def _read(self, pupil: Pupil, kind: str | None, said: Any) -> tuple[Clip, Shown]:
        """The examples of a message, and what a commit is to keep of it: themselves, or where they are stored."""
        if kind in ("examples", "feedback"):
            archetype, examples = pupil.hosted.archetype, said if kind == "examples" else said.examples
            size = clips.announced(examples)
            clip = await beside.run(size, lambda: clips.read(examples, archetype.spec, archetype.name))
            if kind == "feedback":
                clip = clips.weighted(clip, said.weight)
            return clip, clip
        if kind == "demonstration":
            part = names.demonstration(said)
            return await self._read_demonstration(part, pupil.hosted), part
        raise ServiceError(
            "INVALID_STREAM", "expected examples, a demonstration, feedback, a commit or a discard behind setup"
        )

    async def _commit(self, pupil: Pupil, adapted: Adapted, used: list[Shown], late: list[Shown]) -> Committed:
        # Of a few examples at once: to hand them over would take longer.
        size = sum(each.nbytes for each in (*used, *late) if isinstance(each, Clip))
        new, late_new = await beside.run(size, lambda: (_clip_data(used), _clip_data(late)))
        wanted = CommitRequest(
            pupil.row.id, pupil.row.etag, pupil.hosted.archetype.revision, adapted.examples, adapted.support_nll,
            adapted.data, new, _stored(used), pupil.from_scratch, late_new, _stored(late),
        )  # fmt: skip
        state = {key: torch.from_numpy(value) for key, value in adapted.state.items()}
        return await self._roster.commit(wanted, pupil.request, state)

    def _begin(self, npc: str, setup: adapt_pb2.AdaptSetup, request: RequestKey, at_once: bool) -> Pupil | Committed:
        """Reads the NPC and what it was adapted from, on the store's thread; or the commit that a first try made."""
        begun = self._store.before_adapting(npc, request, from_scratch=setup.from_scratch)
        if isinstance(begun, Committed):
            return begun
        row, acting, data = begun
        # With the archetype revision that it acts with; if that is lost, with the current one.
        same = self._roster.repertoire.revision(row.archetype, acting.archetype_revision)
        hosted = same or self._roster.hosted(row.archetype)
        known = [clips.from_bytes(each, hosted.archetype.spec) for each in data]
        return Pupil(row, hosted, known, setup.from_scratch, request, _time_budget(setup), at_once)

    async def _read_demonstration(self, part: names.Part, hosted: Hosted) -> Clip:
        """Reads a stored clip, whose NPC may be of another archetype, maybe of one that only another server knows."""
        owner = await self._roster.offered((await self._storage.run(self._store.npc, part.parent)).archetype)
        if owner.archetype.spec != hosted.archetype.spec:
            raise ServiceError(
                "WRONG_ARCHETYPE",
                f"{messages.demonstration_name(*part)} was recorded for archetypes/{owner.archetype.name}, whose spec "
                f"differs from that of archetypes/{hosted.archetype.name}",
            )
        data = await self._storage.run(self._store.demonstration_data, *part)
        return await self._storage.run(clips.from_bytes, data, hosted.archetype.spec)


def _clip_data(shown: list[Shown]) -> tuple[tuple[bytes, int], ...]:
    return tuple((clips.to_bytes(each), each.examples) for each in shown if isinstance(each, Clip))


def _stored(shown: list[Shown]) -> tuple[tuple[str, str], ...]:
    return tuple((each.parent, each.id) for each in shown if isinstance(each, names.Part))


def _time_budget(setup: adapt_pb2.AdaptSetup) -> float | None:
    """Seconds that a commit may wait for the inner loop; None if it may wait for ever."""
    if not setup.HasField("time_budget"):
        return None
    seconds = setup.time_budget.seconds + 1e-9 * setup.time_budget.nanos
    if not 0 <= seconds <= MAX_BUDGET_SECONDS:
        raise ServiceError(
            "INVALID_ARGUMENT",
            f"time_budget is {seconds:g} s, expected 0 to {MAX_BUDGET_SECONDS}; left out, a commit waits to the end",
            field="time_budget",
        )
    return seconds


def _request_key(npc: str, setup: adapt_pb2.AdaptSetup, content: str) -> RequestKey:
    said = hashlib.sha256(f"{npc}:{setup.from_scratch}:{content}".encode()).hexdigest()
    return RequestKey(checked_request_id("Adapt", setup.request_id), said)
