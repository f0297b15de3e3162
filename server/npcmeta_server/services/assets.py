"""AssetService: files that a game can carry."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import NamedTuple

from npcmeta_export.state import state_file
from npcmeta_server import beside, names, portable
from npcmeta_server.access.caller import caller
from npcmeta_server.adapting.jobs import ExportJob
from npcmeta_server.adapting.pool import AdaptationPool
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import assets_pb2
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.roster import Roster
from npcmeta_server.seating import read_state
from npcmeta_server.store import Store

CHUNK_BYTES = 1 << 20
NPC_ASSETS = ("npc", "ort", "state")


class Asset(NamedTuple):
    """A file and where it comes from."""

    data: bytes
    file_name: str
    archetype_revision: str
    npc_revision: int  # 0 for an archetype's asset


class Assets:
    """Answers AssetService."""

    def __init__(
        self, roster: Roster, store: Store, storage: OwnerThread, filing: OwnerThread, pool: AdaptationPool
    ) -> None:
        """NPCs are exported in an adaptation process, and written on the thread `filing`: no frame waits for that."""
        self._roster, self._store, self._storage, self._filing, self._pool = roster, store, storage, filing, pool

    async def fetch_asset(self, request: assets_pb2.FetchAssetRequest) -> AsyncIterator[assets_pb2.FetchAssetResponse]:
        """The header, then the file in chunks."""
        collection, part = names.asset(request.name)
        find = self._of_archetype if collection == "archetypes" else self._of_npc
        asset = await self._roster.reserve.with_revision(lambda: find(part))
        digest = await beside.run(len(asset.data), lambda: hashlib.sha256(asset.data).hexdigest())
        yield assets_pb2.FetchAssetResponse(header=_header(request.name, asset, digest))
        for start in range(0, len(asset.data), CHUNK_BYTES):
            yield assets_pb2.FetchAssetResponse(chunk=asset.data[start : start + CHUNK_BYTES])

    async def _of_archetype(self, part: names.Part) -> Asset:
        await self._roster.reserve.follow(part.parent)
        hosted = self._roster.hosted(part.parent)
        if part.id != "policy":
            raise _unknown(f"archetypes/{part.parent}", part.id, ("policy",))
        return Asset(hosted.model, f"{part.parent}.policy.onnx", hosted.archetype.revision, 0)

    async def _of_npc(self, part: names.Part) -> Asset:
        if part.id not in NPC_ASSETS:
            raise _unknown(f"npcs/{part.parent}", part.id, NPC_ASSETS)
        if part.id == "npc":
            return await self._whole(part.parent)
        row, revision, data = await self._storage.run(self._store.state, part.parent)
        hosted = self._roster.repertoire.acting(row.archetype, revision.archetype_revision, row.id)
        state = read_state(hosted, row.id, data)
        if part.id == "state":
            made, file_name = state_file(hosted.archetype, state), f"{row.id}.state.safetensors"
        else:
            made = await self._pool.export(ExportJob(hosted.archetype.revision, row.id, data), client=caller())
            file_name = f"{row.id}.ort.onnx"
        return Asset(made, file_name, revision.archetype_revision, revision.number)

    async def _whole(self, npc: str) -> Asset:
        """All that an NPC is, in a file."""
        found = await self._storage.run(self._store.snapshot, npc)
        revision = found.revision
        hosted = self._roster.repertoire.acting(found.npc.archetype, revision.archetype_revision, npc)
        made = await self._filing.run(portable.write, found, hosted)
        return Asset(made, f"{npc}.npc.safetensors", revision.archetype_revision, revision.number)


def _header(name: str, asset: Asset, digest: str) -> assets_pb2.AssetHeader:
    return assets_pb2.AssetHeader(
        name=name,
        size_bytes=len(asset.data),
        sha256=digest,
        file_name=asset.file_name,
        archetype_revision=asset.archetype_revision,
        npc_revision=asset.npc_revision,
    )


def _unknown(parent: str, asset: str, expected: tuple[str, ...]) -> ServiceError:
    return ServiceError(
        "ASSET_NOT_FOUND",
        f"there is no {parent}/assets/{asset}; expected one of: {', '.join(expected)}. For other targets take an "
        "NPC's asset npc (npcmeta npc export) and the archetype's file to npcmeta export --npc",
    )
