"""ArchetypeService: what the server offers, and the revisions of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial

from google.protobuf.empty_pb2 import Empty

from npcmeta_server import messages, names
from npcmeta_server.catalog import Hosted
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import archetypes_pb2, resources_pb2
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.roster import Roster
from npcmeta_server.services import paging
from npcmeta_server.services.npcs import request_key
from npcmeta_server.services.stopping import until
from npcmeta_server.services.uploads import Uploads
from npcmeta_server.store import RequestKey, Store, archetypes, requests, retiring

COUNTED_SECONDS, COUNTED_TIMES = 5.0, 20
"""How long NPCs stay counted, at least, and in times of what it took: seconds for a million, in which commits wait."""


class Archetypes:
    """Answers ArchetypeService."""

    def __init__(
        self,
        roster: Roster,
        store: Store,
        storage: OwnerThread,
        uploads: Uploads,
        stopping: asyncio.Event,
    ) -> None:
        """Offers what the roster has. Once `stopping` is set, uploads end."""
        self._roster, self._store, self._storage = roster, store, storage
        self._uploads, self._stopping = uploads, stopping
        self._counts: dict[str, dict[str, int]] = {}
        self._counted_until = 0.0

    async def list_archetypes(
        self, request: archetypes_pb2.ListArchetypesRequest
    ) -> archetypes_pb2.ListArchetypesResponse:
        """A page of archetypes in order of name."""
        size = paging.checked_size(request.page_size)
        after = paging.after(request)
        await self._roster.reserve.follow_all()
        repertoire = self._roster.repertoire
        page, more = paging.cut([name for name in repertoire.names if name > after], size)
        offered = [
            repertoire.revisions(name) for name in page
        ]  # at once: while one is described, another may be retired
        return archetypes_pb2.ListArchetypesResponse(
            archetypes=[await self._described(hosted) for hosted in offered],
            next_page_token=paging.token(request, page[-1]) if more else "",
        )

    async def get_archetype(self, request: archetypes_pb2.GetArchetypeRequest) -> resources_pb2.Archetype:
        """One archetype."""
        name = names.archetype_id(request.name)
        await self._roster.reserve.follow(name)
        return await self._of(name)

    async def upload_archetype(
        self, requests: AsyncIterator[archetypes_pb2.UploadArchetypeRequest]
    ) -> resources_pb2.Archetype:
        """Takes a file in chunks."""
        async with until(self._stopping, requests) as sent:
            return await self._of(await self._uploads.take(sent))

    async def upload_archetype_once(
        self, request: archetypes_pb2.UploadArchetypeOnceRequest
    ) -> resources_pb2.Archetype:
        """Takes a file at once."""
        return await self._of(await self._uploads.take_once(request))

    async def retire_archetype(self, request: archetypes_pb2.RetireArchetypeRequest) -> Empty:
        """Lets a revision, or a whole archetype, act no more."""
        name, key = names.archetype_id(request.name), request_key("RetireArchetype", request)
        await self._roster.reserve.follow(name)
        await asyncio.shield(self._retire(name, request.revision, key))
        return Empty()

    async def _retire(self, name: str, revision: str, key: RequestKey) -> None:
        repertoire = self._roster.repertoire
        async with self._uploads.changing:
            if await self._storage.run(self._store.do, requests.repeated, key) is not None:
                return
            current = repertoire.current(name).archetype.revision
            if revision and repertoire.revision(name, revision) is None:
                raise ServiceError(
                    "ARCHETYPE_NOT_FOUND",
                    f'archetypes/{name} has no revision "{revision[:64]}" that acts',
                    archetype=name,
                )
            if revision == current:
                why = "new NPCs get it: make another one current, or retire the whole archetype"
                raise retiring.in_use(name, revision, why)
            gone = [revision] if revision else [each.archetype.revision for each in repertoire.revisions(name)][::-1]
            write = partial(self._store.do, retiring.retire, name, revision, key)  # on the store's thread
            await self._uploads.unload(name, gone, write)

    async def _of(self, name: str) -> resources_pb2.Archetype:
        """An archetype as it is now, or ARCHETYPE_NOT_FOUND."""
        return await self._described(self._roster.repertoire.revisions(name))

    async def _described(self, hosted: Sequence[Hosted]) -> resources_pb2.Archetype:
        """An archetype of which these revisions act, the current one first."""
        name = hosted[0].archetype.name
        if (began := time.monotonic()) >= self._counted_until:
            self._counts = await self._storage.run(self._store.do, archetypes.counts)
            ended = time.monotonic()
            self._counted_until = ended + max(COUNTED_SECONDS, COUNTED_TIMES * (ended - began))
        kept = await self._storage.run(self._store.do, archetypes.kept, name)
        return messages.archetype(hosted, kept, self._counts.get(name, {}))
