"""`npcmeta serve`: archetypes and NPCs over gRPC, gRPC-Web and Connect."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path

from rich.console import Console
from rich.table import Table

from npcmeta_server.catalog import Catalog
from npcmeta_server.serving import MlAgents, Running, Settings, running


def serve(
    archetypes: Path,
    store: str = "sqlite:///npcmeta.db",
    host: str = "127.0.0.1",
    port: int = 50051,
    http_port: int = 8080,
    bank_mebibytes: int = 1024,
    mlagents_port: int | None = None,
    mlagents_behaviors: tuple[str, ...] = (),
    mlagents_sampled: bool = True,
) -> None:
    """Serve archetypes: create NPCs, adapt them while they act, decide for thousands of them per frame.

    Args:
        archetypes: Folder of archetype files, or of folders that train wrote.
        store: Where NPCs, demonstrations and revisions are kept: sqlite:///FILE.
        host: Address to listen on. The wire is not encrypted: keep it on machines that you trust.
        port: For gRPC.
        http_port: For gRPC-Web and Connect.
        bank_mebibytes: Memory for the states of acting NPCs, for each archetype.
        mlagents_port: Where Unity games with ML-Agents find their trainer: 5004 for the Editor, or what a build was
            started with (--mlagents-port). Not offered unless given.
        mlagents_behaviors: NAME=ARCHETYPE for each behaviour that is driven by another archetype than its namesake;
            NAME= lets its agents stand still.
        mlagents_sampled: Agents draw their actions; otherwise they take the most likely one.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for option, value in (("--port", port), ("--http-port", http_port), ("--mlagents-port", mlagents_port or 0)):
        if not 0 <= value <= 65535:
            raise ValueError(f"{option} is {value}, expected 0 (any that is free) to 65535")
    named = behaviors(mlagents_behaviors)
    mlagents = None if mlagents_port is None else MlAgents(mlagents_port, named, mlagents_sampled)
    settings = Settings(archetypes, store, host, port, http_port, bank_mebibytes << 20, mlagents=mlagents)
    asyncio.run(_serve(settings))


def behaviors(said: tuple[str, ...]) -> dict[str, str]:
    """Archetypes by the behaviours that they drive; raises ValueError for what is not NAME=ARCHETYPE."""
    named = {}
    for entry in said:
        name, equals, archetype = entry.rpartition("=")
        if not name or not equals:
            raise ValueError(f'--mlagents-behaviors has "{entry}", expected NAME=ARCHETYPE, or NAME= for nobody')
        named[name] = archetype
    return named


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows: its event loop takes no signals
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    async with running(settings) as server:
        _welcome(server, settings)
        await stop.wait()
        Console().print("stopping: frames under way are finished, open streams asked to reconnect")


def _welcome(server: Running, settings: Settings) -> None:
    console = Console()
    console.print(archetype_table(server.catalog))
    for problem in server.catalog.problems:
        console.print(f"[yellow]not offered:[/] {problem}", highlight=False)
    console.print(f"gRPC              {server.grpc_address}", highlight=False)
    console.print(f"gRPC-Web, Connect {server.http_address}", highlight=False)
    if server.mlagents_address:
        console.print(f"ML-Agents         {server.mlagents_address}", highlight=False)
    console.print(f"store             {settings.store}", highlight=False)
    console.print("Ctrl-C stops the server.")


def archetype_table(found: Catalog) -> Table:
    """What is offered."""
    table = Table("archetype", "learner", "family", "sees", "continuous", "branches", "bytes per NPC")
    for name, hosted in sorted(found.hosted.items()):
        spec = hosted.archetype.spec
        table.add_row(
            name, hosted.archetype.learner_name, hosted.archetype.family, str(spec.observation_size),
            str(spec.action.continuous_size), ", ".join(map(str, spec.action.branch_sizes)), f"{hosted.state_bytes:,}",
        )  # fmt: skip
    return table
