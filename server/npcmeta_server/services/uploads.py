"""Archetype files that come over the wire: taken up to a limit, vetted elsewhere, kept, and made to act."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from npcmeta_server import beside, names
from npcmeta_server.adapting.pool import AdaptationPool
from npcmeta_server.catalog import Hosted
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import archetypes_pb2
from npcmeta_server.limits import MAX_ARCHETYPE_BYTES, MAX_UPLOADS, UPLOAD_SECONDS
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.roster import Roster
from npcmeta_server.services.npcs import checked_request_id
from npcmeta_server.store import RequestKey, Store, archetypes
from npcmeta_server.vetting.vetter import Vetter

log = logging.getLogger(__name__)


class Uploads:
    """Lets further archetype revisions act."""

    def __init__(
        self, roster: Roster, store: Store, storage: OwnerThread, pool: AdaptationPool, vetter: Vetter
    ) -> None:
        """Keeps files in the store, which belongs to the thread `storage`."""
        self._roster, self._store, self._storage, self._pool, self._vetter = roster, store, storage, pool, vetter
        self._under_way = 0
        self._loading = asyncio.Lock()
        self.changing = asyncio.Lock()
        """Held while what is offered changes."""

    async def take(self, requests: AsyncIterator[archetypes_pb2.UploadArchetypeRequest]) -> str:
        """Takes a file in chunks, and lets it act; returns the archetype's name."""
        first = await anext(requests, None)
        if first is None or first.WhichOneof("request") != "setup":
            raise ServiceError("INVALID_STREAM", "the first UploadArchetypeRequest has to be a setup")
        with self._one_of_few():
            try:
                async with asyncio.timeout(UPLOAD_SECONDS):
                    data = await _received(requests)
            except TimeoutError as error:
                message = f"the file did not come within {UPLOAD_SECONDS} s; send it faster"
                raise ServiceError("INVALID_STREAM", message) from error
            return await self._add(first.setup, data)

    async def take_once(self, request: archetypes_pb2.UploadArchetypeOnceRequest) -> str:
        """The same of a file that comes at once."""
        with self._one_of_few():
            return await self._add(request.setup, request.data)

    async def load(self, name: str, revision: str) -> Hosted:
        """A revision that acts, or that is kept and acts from now on.

        Raises:
            ServiceError: ARCHETYPE_NOT_FOUND, if there is none, or its archetype was retired.
        """
        async with self._loading:  # of many who ask at once, the others find it loaded
            if (found := self._roster.repertoire.revision(name, revision)) is not None:
                return found
            data = await self._storage.run(self._store.do, archetypes.data, revision)
            hosted = None if data is None else await self._vetter.vet(data)
            if hosted is None or hosted.archetype.name != name:
                raise no_revision(name, revision)
            await asyncio.shield(self._begin_acting(hosted))
            return hosted

    async def adopt(self, name: str, revision: str) -> None:
        """Gives a revision to new NPCs that another server made current; an empty one: the archetype was retired."""
        if revision:
            await self.load(name, revision)
        await asyncio.shield(self._adopt(name))

    async def _begin_acting(self, hosted: Hosted) -> None:
        """Lets a kept revision act unless its archetype was retired meanwhile, even if whoever asked is gone."""
        async with self.changing:
            await self._storage.run(self._store.do, archetypes.check_offered, hosted.archetype.name)
            await self._check_spec(hosted)
            await self._host(hosted)

    async def _adopt(self, name: str) -> None:
        repertoire = self._roster.repertoire
        async with self.changing:
            current = await self._storage.run(self._store.do, archetypes.current, name)
            if current and repertoire.revision(name, current) is not None:
                repertoire.make_current(name, current)
                log.info("archetypes/%s: another server made revision %s current", name, current[:12])
            elif current == "" and name in repertoire:
                acting = [each.archetype.revision for each in repertoire.revisions(name)][::-1]
                await self.unload(name, acting, lambda: None)

    async def unload(self, name: str, revisions: Sequence[str], write: Callable[[], None]) -> None:
        """Lets revisions act no more, a current one last, once `write` has written so; while `changing` is held."""
        await self._roster.retire(name, revisions, write)
        for each in revisions:
            self._pool.unload(each)
            log.info("archetypes/%s: revision %s was retired", name, each[:12])

    async def _add(self, setup: archetypes_pb2.UploadSetup, data: bytes) -> str:
        name = names.archetype_id(setup.archetype, "setup.archetype")
        _check_size(len(data))
        digest = await beside.run(len(data), lambda: hashlib.sha256(data).hexdigest())
        said = f"{name}:{setup.current}:{digest}"
        key = RequestKey(
            checked_request_id("UploadArchetype", setup.request_id), hashlib.sha256(said.encode()).hexdigest()
        )
        await self._roster.reserve.follow(name)
        hosted = await self._vetter.vet(data)
        if hosted.archetype.name != name:
            raise ServiceError(
                "INVALID_ARCHETYPE",
                f"the file is of archetypes/{hosted.archetype.name}, the request says archetypes/{name}; name the one "
                "that it is; nothing was kept",
            )
        await asyncio.shield(self._settle(hosted, key, current=setup.current))
        return name

    async def _settle(self, hosted: Hosted, key: RequestKey, *, current: bool) -> None:
        """Keeps a revision and lets it act; both or nothing, even if whoever asked is gone."""
        name, revision = hosted.archetype.name, hosted.archetype.revision
        async with self.changing:
            await self._check_spec(hosted)
            if not await self._storage.run(
                self._store.do, archetypes.keep, name, revision, hosted.data, current=current, request=key
            ):
                return
            try:
                await self._host(hosted)
            except ServiceError:
                await self._storage.run(self._store.do, archetypes.forget, name, revision, key)
                raise
            if current:
                self._roster.repertoire.make_current(name, revision)
        log.info("archetypes/%s: revision %s was uploaded%s", name, revision[:12], ", as current" if current else "")

    async def _host(self, hosted: Hosted) -> None:
        self._pool.load(hosted.archetype.revision, hosted.data)
        try:
            await self._roster.host(hosted)
        except ValueError as error:
            raise ServiceError("INVALID_ARCHETYPE", f"{error}; nothing was kept") from error

    async def _check_spec(self, hosted: Hosted) -> None:
        """Raises SPEC_MISMATCH if NPCs could not move to a revision from those that there are; holds `changing`."""
        name, spec = hosted.archetype.name, hosted.archetype.spec
        expected = await self._roster.spec(name)
        if expected in (None, spec):
            return
        why = "NPCs cannot move between the two"
        if name not in self._roster.repertoire:
            why = "casts still hold deleted NPCs of it: remove them there and try again"
        raise ServiceError(
            "SPEC_MISMATCH",
            f"the file is for {spec}, archetypes/{name} is for {expected}, and {why}; or train it under another name, "
            "as an archetype of its own; nothing was kept",
            archetype=name,
        )

    @contextlib.contextmanager
    def _one_of_few(self) -> Iterator[None]:
        """Counts an upload, which may fill a quarter of a gigabyte."""
        if self._under_way >= MAX_UPLOADS:
            raise ServiceError(
                "TOO_MANY", f"{MAX_UPLOADS} archetypes are being uploaded; try again later", limit=MAX_UPLOADS
            )
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1


async def _received(requests: AsyncIterator[archetypes_pb2.UploadArchetypeRequest]) -> bytes:
    """The chunks behind a setup, together."""
    chunks, size = [], 0
    async for request in requests:
        if request.WhichOneof("request") != "chunk":
            raise ServiceError("INVALID_STREAM", "expected chunks of the file behind setup")
        chunks.append(request.chunk)
        size += len(request.chunk)
        _check_size(size)
    return await beside.run(size, lambda: b"".join(chunks))


def no_revision(name: str, revision: str) -> ServiceError:
    """Says that an archetype has no such revision."""
    message = f'archetypes/{name} has no revision "{revision[:64]}"; get the archetype to see those that it has'
    return ServiceError("ARCHETYPE_NOT_FOUND", message, archetype=name)


def _check_size(size: int) -> None:
    if size > MAX_ARCHETYPE_BYTES:
        raise ServiceError(
            "TOO_MANY", f"the file has more than {MAX_ARCHETYPE_BYTES} bytes, expected no more",
            limit=MAX_ARCHETYPE_BYTES,
        )  # fmt: skip
