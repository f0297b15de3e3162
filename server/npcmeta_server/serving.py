"""The server as a whole: store, banks, adaptation process, services and ports, from start to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from npcmeta_server import archive, catalog, metrics
from npcmeta_server.access import tls, tracing
from npcmeta_server.access.gate import Gate
from npcmeta_server.access.tls import TlsFiles
from npcmeta_server.access.tokens import TokenFile
from npcmeta_server.adapting.memory import LessonMemory
from npcmeta_server.adapting.pool import AdaptationPool
from npcmeta_server.adapting.priority import Priority
from npcmeta_server.catalog import Catalog
from npcmeta_server.limits import MAX_CALLS, MAX_FILE_MESSAGE_BYTES, MAX_LESSON_BYTES, MAX_NPCS
from npcmeta_server.mlagents import behaviors
from npcmeta_server.owner_thread import OwnerThread
from npcmeta_server.ports.grpc_port import GrpcPort
from npcmeta_server.ports.http_port import HttpPort
from npcmeta_server.ports.surface import FILES, INFERENCE, MLAGENTS, Services
from npcmeta_server.roster import Roster
from npcmeta_server.services.act import Act
from npcmeta_server.services.adapt import Adapt
from npcmeta_server.services.archetypes import Archetypes
from npcmeta_server.services.assets import Assets
from npcmeta_server.services.exchange import Exchange
from npcmeta_server.services.inference import Inference
from npcmeta_server.services.npcs import Npcs
from npcmeta_server.services.upgrades import Upgrades
from npcmeta_server.services.uploads import Uploads
from npcmeta_server.store import Store
from npcmeta_server.upgrading.upgrader import Upgrader
from npcmeta_server.vetting.vetter import Vetter

log = logging.getLogger(__name__)


class MlAgents(NamedTuple):
    """How games with ML-Agents are driven; they come from this machine only."""

    port: int
    archetypes: Mapping[str, str]  # by the name of a behaviour; one that is not named is driven by its namesake
    sampled: bool


class Settings(NamedTuple):
    """How a server is set up."""

    archetypes: Path
    store: str
    host: str
    port: int
    http_port: int
    bank_bytes: int = 1 << 30  # of acting state of one archetype, at most
    adaptation_processes: int = 1
    adaptation_priority: Priority = "idle"
    lesson_bytes: int = MAX_LESSON_BYTES
    max_message_bytes: int = MAX_FILE_MESSAGE_BYTES  # of any method; most take less, see `access.sizes`
    max_calls: int = MAX_CALLS
    max_npcs: int = MAX_NPCS
    tls: TlsFiles | None = None
    tokens: Path | None = None  # the file of those that are known; without one everybody may do everything
    insecure: bool = False  # listen for other machines even without TLS or tokens
    origins: tuple[str, ...] = ()  # of web pages that may call
    drain_seconds: float = 0.0  # between saying that it will stop and stopping
    grace_seconds: float = 5.0  # for calls under way, once it stops
    mlagents: MlAgents | None = None
    otlp_endpoint: str = ""  # where spans go; empty: none are made


class Running(NamedTuple):
    """A server that answers."""

    catalog: Catalog
    grpc_address: str
    http_address: str
    mlagents_address: str  # empty: no such port


class House(NamedTuple):
    """What the services share."""

    found: Catalog
    store: Store
    storage: OwnerThread
    roster: Roster
    pool: AdaptationPool
    memory: LessonMemory
    uploads: Uploads
    upgrader: Upgrader
    filing: OwnerThread  # reads and writes NPCs' files


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Starts a server, and stops it at the end.

    It then says so to those who watch, goes on for as long as they need to notice, lets frames under way finish, and
    asks open streams to reconnect.

    Raises:
        ValueError: If there is no archetype to serve, or the settings do not go together.
        StoreError: If the store cannot be opened.
        OSError: If a port cannot be had.
    """
    tls.check_exposure(settings.host, settings.tls is not None, settings.tokens is not None, settings.insecure)
    tokens = TokenFile(settings.tokens) if settings.tokens else None
    grpc_tls = tls.grpc_credentials(settings.tls) if settings.tls else None
    http_tls = tls.http_context(settings.tls) if settings.tls else None
    torch.set_num_threads(1)
    stopping = asyncio.Event()
    async with contextlib.AsyncExitStack() as cleanup:
        gate = Gate(tokens, settings.max_calls, _spans(cleanup, settings.otlp_endpoint))
        house = await _house(cleanup, settings)
        services = _services(house, stopping)
        host, size = settings.host, settings.max_message_bytes
        grpc_port = GrpcPort(services, (*FILES, INFERENCE), _address(host, settings.port), size, gate, grpc_tls)
        http_port = HttpPort(services, host, settings.http_port, size, gate, http_tls, settings.origins)
        _watch(cleanup, house.store, house.memory)
        mlagents_address = await _offer_mlagents(cleanup, settings, house.roster, services["NpcService"], stopping)
        for port in (http_port, grpc_port):
            await port.start()
            cleanup.push_async_callback(port.stop, settings.grace_seconds)
        await house.upgrader.resume()
        cleanup.callback(stopping.set)
        cleanup.push_async_callback(asyncio.sleep, settings.drain_seconds)
        cleanup.callback(http_port.drain)
        cleanup.push_async_callback(grpc_port.drain)
        grpc_address, at = (_address(host, port.port) for port in (grpc_port, http_port))
        yield Running(house.found, grpc_address, f"http{'s' * bool(settings.tls)}://{at}", mlagents_address)


async def _house(cleanup: contextlib.AsyncExitStack, settings: Settings) -> House:
    """Opens the store, loads the archetypes and starts the adaptation processes, until the end."""
    storage, filing = OwnerThread("store"), OwnerThread("files")
    files = catalog.load(settings.archetypes)
    store = await storage.run(Store, settings.store, settings.max_npcs)
    cleanup.callback(storage.close)
    cleanup.callback(storage.post, store.close)
    found = await storage.run(archive.settle, files, store)
    roster = Roster(found, store, storage, settings.bank_bytes)
    cleanup.callback(roster.close)
    pool = AdaptationPool(catalog.files(found), settings.adaptation_processes, settings.adaptation_priority)
    cleanup.callback(pool.close)
    vetter = Vetter()
    cleanup.callback(vetter.close)
    uploads = Uploads(roster, store, storage, pool, vetter)
    roster.reserve.fetch, roster.reserve.adopt = uploads.load, uploads.adopt
    upgrader = Upgrader(roster, store, storage, pool, uploads.load)
    cleanup.push_async_callback(upgrader.close)
    cleanup.callback(filing.close)
    return House(found, store, storage, roster, pool, LessonMemory(settings.lesson_bytes), uploads, upgrader, filing)


def _services(house: House, stopping: asyncio.Event) -> Services:
    """What answers the calls; once `stopping` is set, streams are asked to reconnect."""
    _, store, storage, roster, pool, memory, uploads, upgrader, filing = house
    act = Act(roster, stopping)
    return {
        "ArchetypeService": Archetypes(roster, store, storage, uploads, stopping),
        "UpgradeService": Upgrades(roster, store, storage, uploads, upgrader),
        "NpcService": Npcs(roster, store, storage, filing, pool, memory),
        "ActService": act,
        "AdaptService": Adapt(roster, store, storage, pool, memory, stopping),
        "AssetService": Assets(roster, store, storage, filing, pool),
        "GRPCInferenceService": Inference(roster, act, stopping),
    }


async def _offer_mlagents(
    cleanup: contextlib.AsyncExitStack, settings: Settings, roster: Roster, npcs: Npcs, stopping: asyncio.Event
) -> str:
    """Opens the port for games with ML-Agents, if one is wanted, until the end; returns its address."""
    if (wanted := settings.mlagents) is None:
        return ""
    async for problem in behaviors.without_archetype(wanted.archetypes, roster):
        log.warning(problem)
    exchange = Exchange(roster, npcs, stopping, wanted.archetypes, sampled=wanted.sampled)
    # Unity dials localhost and sends no token: nobody reaches the port from elsewhere, and the gate asks for none.
    address, gate = f"localhost:{wanted.port}", Gate(None, settings.max_calls)
    port = GrpcPort({"UnityToExternalProto": exchange}, [MLAGENTS], address, settings.max_message_bytes, gate)
    cleanup.push_async_callback(exchange.close)
    await port.start()
    cleanup.push_async_callback(port.stop, settings.grace_seconds)
    return f"localhost:{port.port}"


def _spans(cleanup: contextlib.AsyncExitStack, endpoint: str) -> tracing.Begin | None:
    """Lets calls be traced, until the end, if there is somewhere to send their spans."""
    if not endpoint:
        return None
    begin, finish = tracing.exporting(endpoint)
    cleanup.callback(finish)
    return begin


def _watch(cleanup: contextlib.AsyncExitStack, store: Store, memory: LessonMemory) -> None:
    """Lets the metrics ask how many NPCs there are, and what lessons hold, until the end."""
    for gauge, found in ((metrics.NPCS_STORED, lambda: store.num_npcs), (metrics.LESSON_BYTES, lambda: memory.held)):
        gauge.set_function(found)
        cleanup.callback(gauge.set_function, lambda: 0)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
