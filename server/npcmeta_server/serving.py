"""The server as a whole: store, banks, adaptation process, services and ports, from start to stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import torch

from npcmeta_server import catalog
from npcmeta_server.adapting.process import AdaptationProcess
from npcmeta_server.catalog import Catalog
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.ports.grpc_port import GrpcPort
from npcmeta_server.ports.http_port import HttpPort
from npcmeta_server.ports.surface import FILES, INFERENCE, Services
from npcmeta_server.roster import Roster
from npcmeta_server.services.act import Act
from npcmeta_server.services.adapt import Adapt
from npcmeta_server.services.archetypes import Archetypes
from npcmeta_server.services.assets import Assets
from npcmeta_server.services.inference import Inference
from npcmeta_server.services.npcs import Npcs
from npcmeta_server.store import Store

GRACE_SECONDS = 5.0


class Settings(NamedTuple):
    """How a server is set up."""

    archetypes: Path
    store: str
    host: str
    port: int
    http_port: int
    bank_bytes: int = 1 << 30  # of acting state of one archetype, at most
    max_message_bytes: int = 64 << 20


class Running(NamedTuple):
    """A server that answers."""

    catalog: Catalog
    grpc_address: str
    http_address: str


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Starts a server, and stops it at the end: frames under way are finished, open streams asked to reconnect.

    Raises:
        ValueError: If there is no archetype to serve.
        StoreError: If the store cannot be opened.
        OSError: If a port cannot be had.
    """
    torch.set_num_threads(1)
    stopping, storage = asyncio.Event(), OwnerThread("store")
    async with contextlib.AsyncExitStack() as cleanup:
        found = catalog.load(settings.archetypes)
        store = await storage.run(Store, settings.store)
        cleanup.callback(storage.close)
        cleanup.callback(storage.post, store.close)
        roster = Roster(found, store, storage, settings.bank_bytes)
        cleanup.callback(roster.close)
        adaptation = AdaptationProcess({name: hosted.data for name, hosted in found.hosted.items()})
        cleanup.callback(adaptation.close)
        act = Act(roster, stopping)
        services: Services = {
            "ArchetypeService": Archetypes(found, roster),
            "NpcService": Npcs(roster, store, storage),
            "ActService": act,
            "AdaptService": Adapt(roster, store, storage, adaptation, stopping),
            "AssetService": Assets(roster, store, storage, adaptation),
            "GRPCInferenceService": Inference(roster, act, stopping),
        }
        address = _address(settings.host, settings.port)
        grpc_port = GrpcPort(services, (*FILES, INFERENCE), address, settings.max_message_bytes)
        http_port = HttpPort(services, settings.host, settings.http_port, settings.max_message_bytes)
        await http_port.start()
        cleanup.push_async_callback(http_port.stop, GRACE_SECONDS)
        await grpc_port.start()
        cleanup.push_async_callback(grpc_port.stop, GRACE_SECONDS)
        cleanup.callback(stopping.set)
        grpc_address = _address(settings.host, grpc_port.port)
        yield Running(found, grpc_address, f"http://{_address(settings.host, http_port.port)}")


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
