"""NpcService: NPCs, their demonstrations and their revisions, in the store."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from npcmeta.archetype import acting_part, begin_npc, build_learner, npc_to_bytes
from npcmeta_server import beside, clips, messages, names, portable
from npcmeta_server.access.caller import caller, received
from npcmeta_server.adapting.memory import LessonMemory, Share
from npcmeta_server.adapting.pool import AdaptationPool
from npcmeta_server.catalog import Hosted
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import npcs_pb2, resources_pb2
from npcmeta_server.limits import MAX_REQUEST_ID
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.roster import Roster
from npcmeta_server.services import copying, paging
from npcmeta_server.store import NpcFilter, NpcRow, RequestKey, Store

LAST_REVISION = 1 << 62


class Npcs:
    """Answers NpcService."""

    def __init__(
        self,
        roster: Roster,
        store: Store,
        storage: OwnerThread,
        filing: OwnerThread,
        pool: AdaptationPool,
        memory: LessonMemory,
    ) -> None:
        """Keeps NPCs in the store, which belongs to the thread `storage`; files are read on `filing`, into `memory`."""
        self._roster, self._store, self._storage = roster, store, storage
        self._filing, self._pool, self._memory = filing, pool, memory

    async def create_npc(self, request: npcs_pb2.CreateNpcRequest) -> resources_pb2.Npc:
        """Makes an NPC; it can act at once."""
        name, key = names.archetype_id(request.npc.archetype, "npc.archetype"), request_key("CreateNpc", request)
        row = copying.new_row(request.npc_id, request.npc, name)

        async def make() -> tuple[NpcRow, bool]:
            return await self._storage.run(self._create, row, self._roster.hosted(name), key)

        stored, _ = await self._roster.reserve.with_current(name, make)
        return messages.npc(stored)

    async def clone_npc(self, request: npcs_pb2.CloneNpcRequest) -> resources_pb2.Npc:
        """Makes an NPC that begins as another one is."""
        key = request_key("CloneNpc", request)
        work = partial(self._storage.run, copying.clone, self._roster, self._store, request, key)
        return messages.npc(await self._roster.reserve.with_revision(work))

    async def import_npc(self, request: npcs_pb2.ImportNpcRequest) -> resources_pb2.Npc:
        """Makes an NPC of a file, on the thread for files: it may be long, and is anybody's."""
        with self._memory.share(caller()) as share:
            share.take(3 * received())  # as it came, parsed, and the file
            return await self._import(request, share)

    async def _import(self, request: npcs_pb2.ImportNpcRequest, share: Share) -> resources_pb2.Npc:
        file = await self._filing.run(lambda: request.file)  # a copy each time
        key = await self._filing.run(_file_key, request.npc_id, file, request.request_id)
        if (before := await self._storage.run(self._store.created, key)) is not None:
            return messages.npc(before)
        npc = await self._filing.run(portable.read, file)
        await self._roster.reserve.know_revision(npc.archetype_name, npc.archetype_revision)
        checked = await self._filing.run(portable.check, npc, self._roster.repertoire)
        share.take_clips(checked.clips)
        made = await copying.from_file(checked, request.npc_id, self._pool, self._filing)
        stored, _ = await self._storage.run(
            self._store.create_npc, made.row, made.archetype_revision, made.state, key, made.support_nll, made.clips
        )
        return messages.npc(stored)

    async def get_npc(self, request: npcs_pb2.GetNpcRequest) -> resources_pb2.Npc:
        """One NPC."""
        return messages.npc(await self._storage.run(self._store.npc, names.npc_id(request.name)))

    async def list_npcs(self, request: npcs_pb2.ListNpcsRequest) -> npcs_pb2.ListNpcsResponse:
        """A page of NPCs in order of name."""
        size = paging.checked_size(request.page_size)
        rows, last = await self._storage.run(self._store.npcs, _filter(request), paging.after(request), size)
        return npcs_pb2.ListNpcsResponse(
            npcs=[messages.npc(row) for row in rows], next_page_token=paging.token(request, last) if last else ""
        )

    async def update_npc(self, request: npcs_pb2.UpdateNpcRequest) -> resources_pb2.Npc:
        """Changes what people call an NPC, which is all that can be changed by saying so."""
        npc, key = names.npc_id(request.npc.name, "npc.name"), request_key("UpdateNpc", request)
        check_mask(request.update_mask)
        display_name = copying.checked_text(request.npc.display_name, "display_name")
        with self._roster.alone(npc):
            return messages.npc(await self._storage.run(self._store.rename_npc, npc, display_name, request.etag, key))

    async def delete_npc(self, request: npcs_pb2.DeleteNpcRequest) -> Empty:
        """Deletes an NPC with all that belongs to it; whoever has it in a cast cannot act with it any more."""
        await self._roster.delete(names.npc_id(request.name), request.etag, request_key("DeleteNpc", request))
        return Empty()

    async def create_demonstration(self, request: npcs_pb2.CreateDemonstrationRequest) -> resources_pb2.Demonstration:
        """Stores a clip without adapting."""
        npc, size = names.npc_id(request.parent, "parent"), received()
        key = await beside.run(size, lambda: request_key("CreateDemonstration", request))
        row = await self._storage.run(self._store.npc, npc)
        spec = (await self._roster.offered(row.archetype)).archetype.spec
        clip = await beside.run(size, lambda: clips.read(request.examples, spec, row.archetype))
        data = await beside.run(size, lambda: clips.to_bytes(clip))
        stored = await self._storage.run(self._store.add_demonstration, npc, data, clip.examples, key)
        return messages.demonstration(stored)

    async def list_demonstrations(
        self, request: npcs_pb2.ListDemonstrationsRequest
    ) -> npcs_pb2.ListDemonstrationsResponse:
        """A page of an NPC's clips, oldest first."""
        npc, size = names.npc_id(request.parent, "parent"), paging.checked_size(request.page_size)
        rows = await self._storage.run(self._store.demonstrations, npc, paging.after(request), size + 1)
        page, more = paging.cut(rows, size)
        return npcs_pb2.ListDemonstrationsResponse(
            demonstrations=[messages.demonstration(row) for row in page],
            next_page_token=paging.token(request, page[-1].id) if more else "",
        )

    async def delete_demonstration(self, request: npcs_pb2.DeleteDemonstrationRequest) -> Empty:
        """Deletes a clip; revisions adapted from it stay as they are."""
        name, key = names.demonstration(request.name), request_key("DeleteDemonstration", request)
        await self._storage.run(self._store.delete_demonstration, name.parent, name.id, key)
        return Empty()

    async def list_revisions(self, request: npcs_pb2.ListRevisionsRequest) -> npcs_pb2.ListRevisionsResponse:
        """A page of an NPC's revisions, newest first."""
        npc, size = names.npc_id(request.parent, "parent"), paging.checked_size(request.page_size)
        before = paging.after_number(request, LAST_REVISION)
        rows = await self._storage.run(self._store.revisions, npc, before, size + 1)
        page, more = paging.cut(rows, size)
        return npcs_pb2.ListRevisionsResponse(
            revisions=[messages.revision(row) for row in page],
            next_page_token=paging.token(request, str(page[-1].number)) if more else "",
        )

    async def get_revision(self, request: npcs_pb2.GetRevisionRequest) -> resources_pb2.Revision:
        """One revision."""
        return messages.revision(await self._storage.run(self._store.revision, *names.revision(request.name)))

    async def rollback_npc(self, request: npcs_pb2.RollbackNpcRequest) -> resources_pb2.Npc:
        """Lets a kept revision act again."""
        npc, key = names.npc_id(request.name), request_key("RollbackNpc", request)
        owner, number = names.revision(request.revision)
        if owner != npc:
            raise ServiceError(
                "INVALID_ARGUMENT",
                f"revision is {request.revision}, expected one of npcs/{npc}",
                field="revision",
            )
        with self._roster.alone(npc):
            return messages.npc(await self._roster.roll_back(npc, number, request.etag, key))

    def _create(self, row: NpcRow, hosted: Hosted, key: RequestKey) -> tuple[NpcRow, bool]:
        archetype = hosted.archetype
        begun = acting_part(begin_npc(archetype, row.id, seed=row.seed), build_learner(archetype))
        return self._store.create_npc(row, archetype.revision, npc_to_bytes(begun), key, current=True)


def request_key(method: str, request: Any) -> RequestKey:
    """The key of a request that may be sent again: its id, and a digest of everything else it says."""
    rest: Message = type(request)()
    rest.CopyFrom(request)
    rest.ClearField("request_id")
    content = hashlib.sha256(rest.SerializeToString(deterministic=True)).hexdigest()
    return RequestKey(checked_request_id(method, request.request_id), content)


def _file_key(npc_id: str, file: bytes, request_id: str) -> RequestKey:
    """The same for an import, whose file is not written into a message once more."""
    content = hashlib.sha256(f"{npc_id}|".encode())
    content.update(file)
    return RequestKey(checked_request_id("ImportNpc", request_id), content.hexdigest())


def checked_request_id(method: str, request_id: str) -> str:
    """An id that is unique for a method; empty if the client gave none."""
    if len(request_id) > MAX_REQUEST_ID:
        raise ServiceError(
            "INVALID_ARGUMENT",
            f"request_id has {len(request_id)} characters, expected at most {MAX_REQUEST_ID}",
            field="request_id",
        )
    return f"{method}:{request_id}" if request_id else ""


def check_mask(mask: FieldMask) -> None:
    """Raises INVALID_ARGUMENT if an update names what cannot be changed."""
    unknown = [path for path in mask.paths if path not in ("display_name", "*")]
    if unknown:
        raise ServiceError(
            "INVALID_ARGUMENT",
            f'update_mask names "{unknown[0][:80]}", expected display_name, which is all that can be changed',
            field="update_mask",
        )


def _filter(request: npcs_pb2.ListNpcsRequest) -> NpcFilter:
    if request.min_examples < 0:
        raise ServiceError(
            "INVALID_ARGUMENT", f"min_examples is {request.min_examples}, expected 0 or more", field="min_examples"
        )
    archetype = names.archetype_id(request.archetype, "archetype") if request.archetype else ""
    return NpcFilter(archetype, copying.checked_text(request.text, "text"), request.min_examples)
