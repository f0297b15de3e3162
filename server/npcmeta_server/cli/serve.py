"""`npcmeta serve`: archetypes and NPCs over gRPC, gRPC-Web and Connect."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from npcmeta_server import logs, signals
from npcmeta_server.access.tls import TlsFiles
from npcmeta_server.adapting.priority import Priority
from npcmeta_server.catalog import Catalog
from npcmeta_server.limits import MAX_CALLS, MAX_LESSON_BYTES, MAX_NPCS
from npcmeta_server.serving import MlAgents, Running, Settings, running
from npcmeta_server.store import shown

log = logging.getLogger(__name__)

PORTS = (0, 65_535)  # 0: any that is free
BOUNDS: dict[str, tuple[int, float]] = {
    "port": PORTS, "http_port": PORTS, "mlagents_port": PORTS, "bank_mebibytes": (1, math.inf),
    "adaptation_processes": (1, 64), "lesson_mebibytes": (1, math.inf), "max_calls": (1, math.inf),
    "max_npcs": (0, math.inf), "drain_seconds": (0, 86_400), "grace_seconds": (0, 86_400),
}  # fmt: skip
"""What numbers may be: the least, and the most."""
SWITCH_SECONDS = 5e-4
"""How long another thread may keep the interpreter from the event loop; Python's own 5 ms are a third of a frame."""


def serve(
    archetypes: Path,
    store: str = "sqlite:///npcmeta.db",
    host: str = "127.0.0.1",
    port: int = 50051,
    http_port: int = 8080,
    bank_mebibytes: int = 1024,
    adaptation_processes: int = 1,
    adaptation_priority: Priority = "idle",
    lesson_mebibytes: int = MAX_LESSON_BYTES >> 20,
    tls_certificate: Path | None = None,
    tls_key: Path | None = None,
    tls_client_ca: Path | None = None,
    tokens: Path | None = None,
    insecure: bool = False,
    cors_origins: tuple[str, ...] = (),
    max_calls: int = MAX_CALLS,
    max_npcs: int = MAX_NPCS,
    drain_seconds: float = 0.0,
    grace_seconds: float = 5.0,
    log_format: logs.Format = "text",
    log_level: logs.Level = "info",
    otlp_endpoint: str = "",
    mlagents_port: int | None = None,
    mlagents_behaviors: tuple[str, ...] = (),
    mlagents_likeliest: bool = False,
) -> None:
    """Serve archetypes: create NPCs, adapt them while they act, decide for thousands of them per frame.

    Args:
        archetypes: Folder of archetype files, or of folders that train wrote.
        store: Where NPCs, demonstrations and revisions are kept: sqlite:///FILE, or
            postgresql+psycopg://USER:PASSWORD@HOST/DATABASE with npcmeta[postgres].
        host: Address to listen on. One that other machines can reach needs TLS and tokens.
        port: For gRPC.
        http_port: For gRPC-Web and Connect.
        bank_mebibytes: Memory for the states of acting NPCs, for each archetype.
        adaptation_processes: How many run inner loops beside each other; best as many as there are cores to spare.
        adaptation_priority: What time inner loops get: idle, what nobody else on the machine wants, so that frames
            wait less for them; or low, a share even where all cores are busy all the time.
        lesson_mebibytes: Memory for examples that are being adapted to, in all Adapt streams and imports together;
            frames need none of it.
        tls_certificate: PEM file of the server's certificate, with the chain behind it.
        tls_key: PEM file of its key.
        tls_client_ca: PEM file of certificates; clients have to show one that they signed.
        tokens: File of the tokens that are known, as npcmeta token new writes it.
        insecure: Listen for other machines even without TLS or tokens.
        cors_origins: Web pages that may call the HTTP port, for example https://game.example; "*" for all.
        max_calls: Calls and streams under way at a time.
        max_npcs: NPCs in the store.
        drain_seconds: How long to go on answering after a signal to stop, while health says NOT_SERVING.
        grace_seconds: How long calls under way may then take; a second signal ends the waiting.
        log_format: text for people, json for programs.
        log_level: The least that is logged; debug has every call.
        otlp_endpoint: Where OpenTelemetry's spans go, for example http://127.0.0.1:4318/v1/traces; needs npcmeta[otel].
        mlagents_port: Where Unity games with ML-Agents find their trainer: 5004 for the Editor, or what a build was
            started with (--mlagents-port). Not offered unless given.
        mlagents_behaviors: NAME=ARCHETYPE for each behaviour that is driven by another archetype than its namesake;
            NAME= lets its agents stand still.
        mlagents_likeliest: Agents take the most likely action instead of drawing one.
    """
    logs.configure(log_format, log_level)
    given = locals()
    for name, (least, most) in BOUNDS.items():
        if given[name] is not None and not least <= given[name] <= most:  # no number is not one either
            option, bound = f"--{name.replace('_', '-')}", "or more" if most == math.inf else f"to {most}"
            raise ValueError(f"{option} is {given[name]}, expected {least} {bound}")
    named = behaviors(mlagents_behaviors)
    mlagents = None if mlagents_port is None else MlAgents(mlagents_port, named, not mlagents_likeliest)
    settings = Settings(
        archetypes, store, host, port, http_port, bank_mebibytes << 20, adaptation_processes, adaptation_priority,
        lesson_mebibytes << 20, max_calls=max_calls, max_npcs=max_npcs,
        tls=_tls(tls_certificate, tls_key, tls_client_ca), tokens=tokens, insecure=insecure, origins=cors_origins,
        drain_seconds=drain_seconds, grace_seconds=grace_seconds, mlagents=mlagents, otlp_endpoint=otlp_endpoint,
    )  # fmt: skip
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


def _tls(certificate: Path | None, key: Path | None, client_ca: Path | None) -> TlsFiles | None:
    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        raise ValueError("TLS takes both --tls-certificate and --tls-key")
    return TlsFiles(certificate, key, client_ca)


def _favour_frames() -> None:
    """Lets other threads of this process, and the collector of garbage, keep the event loop waiting for less long."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # what is there now stays; there is no use in looking through it again and again


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    task = asyncio.current_task()

    def signalled() -> None:
        if stop.is_set() and task is not None:
            task.cancel()  # a second signal: no more waiting
        stop.set()

    signals.listen(signalled)
    with contextlib.suppress(asyncio.CancelledError):
        async with running(settings) as server:
            _favour_frames()
            _welcome(server, settings)
            await stop.wait()
            log.info("stopping: frames under way are finished, open streams asked to reconnect")


def _welcome(server: Running, settings: Settings) -> None:
    console = Console()
    console.print(archetype_table(server.catalog))
    for problem in server.catalog.problems:
        console.print(f"[yellow]not offered:[/] {escape(problem)}", highlight=False)
    console.print(f"gRPC              {server.grpc_address}", highlight=False)
    console.print(f"gRPC-Web, Connect {server.http_address}", highlight=False)
    if server.mlagents_address:
        console.print(f"ML-Agents         {server.mlagents_address}", highlight=False)
    console.print(escape(f"store             {shown(settings.store)}"), highlight=False)
    console.print("Ctrl-C stops the server.")


def archetype_table(found: Catalog) -> Table:
    """What is offered."""
    table = Table("archetype", "learner", "family", "sees", "continuous", "branches", "bytes per NPC")
    for name, hosted in sorted(found.hosted.items()):
        spec = hosted.archetype.spec
        table.add_row(
            name, hosted.archetype.learner_name, escape(hosted.archetype.family), str(spec.observation_size),
            str(spec.action.continuous_size), ", ".join(map(str, spec.action.branch_sizes)), f"{hosted.state_bytes:,}",
        )  # fmt: skip
    return table
