"""Runs the servers and the load, and takes down what happened."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import torch
from rich.console import Console
from rich.progress import track

from npcmeta import training
from npcmeta.archetype import Archetype, begin_npc, build_learner, draw_state_noise, save_archetype
from npcmeta.types import ActionSpec, BehaviorSpec, Normaliser
from npcmeta_export.ort import ORT
from npcmeta_export.template import fill, make_template
from npcmeta_server import clips
from npcmeta_server.cli.bench.serving import driver, mlserver, processor, stand_ins, world
from npcmeta_server.cli.bench.serving.driver import Sent, Taught
from npcmeta_server.cli.bench.serving.world import Work
from npcmeta_server.demo import host
from npcmeta_server.gen.npcmeta.v1 import npcs_pb2, npcs_pb2_grpc, resources_pb2

OURS = "npcmeta"
STAND_INS = {"echo": "no model", "shared": "shared weights", "sessions": "a session per NPC"}
NAMES = STAND_INS | {mlserver.NAME: "MLServer, shared weights"}
LEARNER, SPEC = "bayes", BehaviorSpec(world.OBSERVATION, ActionSpec(world.CONTINUOUS, world.BRANCHES), 10.0)
PAGE = 4096
SLOW_BLOCK = 4
"""A session for each NPC is slow: its turns have this part of the others' frames."""


class Stage(NamedTuple):
    """Everything that runs."""

    folder: Path
    archetype: Archetype
    server: int  # process id of ours
    pids: dict[str, int]
    memory: dict[str, int]  # bytes that a server's models or NPCs took
    game: Connection
    designers: Connection
    designers_pid: int
    busy: Connection


class Pair(NamedTuple):
    """The same load twice: while NPCs are adapted, and while an unrelated process takes as much processor time."""

    adapting: list[Sent]
    taught: list[Taught]
    busy: list[Sent]
    share: float  # of one processor, that adapting took: in its processes, its clients and the server itself


class Lesson(NamedTuple):
    """Seconds of an adaptation over the wire, and of what it cannot do without."""

    adapt: float
    inner_loop: float
    echo: float
    fsync: float


class Found(NamedTuple):
    """All that was measured."""

    frames: dict[tuple[str, int], list[float]]  # seconds, by server and NPCs in a frame
    processor: dict[tuple[str, int], float]  # seconds of the server's processor time for a frame
    memory: dict[str, int]
    bytes_per_npc: int  # of a state that acts
    pairs: list[Pair]
    lessons: list[Lesson]
    crowd: list[tuple[float, float]]  # adaptations a second: one client, many


def measure(work: Work, family: str, rounds: int, console: Console) -> Found:
    """Measures everything, in turns, with the default learner as a family trains it."""
    with stage(work, family) as running:
        frames, taken = in_turns(running, work, rounds, console)
        period = 2 * sorted(frames[OURS, work.small])[len(frames[OURS, work.small]) // 2]
        pairs = [
            pair(running, work, period) for _ in track(range(work.pairs), "acting while adapting", console=console)
        ]
        teacher = floor(running)
        lessons = [teacher() for _ in track(range(work.lessons * rounds), "adapting", console=console)]
        crowd = [rates(running, work) for _ in track(range(min(3, rounds)), "many clients", console=console)]
        state = begin_npc(running.archetype, world.NAME).state
        acting = [state[key] for key in build_learner(running.archetype).acting]
        size = sum(value.numel() * value.element_size() for value in acting)
        return Found(frames, taken, running.memory, size, pairs, lessons, crowd)


@contextlib.contextmanager
def stage(work: Work, family: str) -> Iterator[Stage]:
    """Starts all servers and the load generators; ends them."""
    processor.check()
    with contextlib.ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="npcmeta-bench-")))
        archetype = make_archetype(folder, family)
        model = fill(make_template(archetype, ORT), begin_npc(archetype, "average"))
        sizes = (work.small, work.large)
        addresses, pids, memory = {}, {}, {}
        for kind in STAND_INS:
            connection, pids[kind] = _start(cleanup, stand_ins.stand, kind, model, sizes)
            addresses[kind], memory[kind] = connection.recv()
        if mlserver.installed():
            addresses[mlserver.NAME], pids[mlserver.NAME] = mlserver.start(cleanup, folder / mlserver.NAME, model)
        ours = cleanup.enter_context(host.server(folder, folder / "npcs.db", folder / "log"))
        addresses[OURS], pids[OURS] = ours.grpc, ours.pid
        create(ours.grpc, work)
        before = processor.resident_bytes(ours.pid)
        game, _ = _start(cleanup, driver.play, addresses, {OURS: world.opening(work.large)})
        game.recv()
        memory[OURS] = processor.resident_bytes(ours.pid) - before
        designers, designers_pid = _start(cleanup, driver.teach, ours.grpc, addresses["echo"])
        designers.recv()
        busy, _ = _start(cleanup, processor.burn)
        yield Stage(folder, archetype, ours.pid, pids, memory, game, designers, designers_pid, busy)


def make_archetype(folder: Path, family: str) -> Archetype:
    """Writes an archetype that was not trained: what it costs to serve does not depend on what it knows."""
    settings = training.choose_settings(family, LEARNER, {})
    meta = settings.build(SPEC).init(torch.Generator().manual_seed(0))
    unit = Normaliser((0.0,) * SPEC.observation_size, (1.0,) * SPEC.observation_size)
    archetype = Archetype(world.NAME, "bench", LEARNER, settings, SPEC, unit, {}, {}, meta)
    return save_archetype(archetype, folder / f"{world.NAME}.safetensors")


def _start(cleanup: contextlib.ExitStack, body: Callable[..., None], *arguments: Any) -> tuple[Connection, int]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=body, args=(*arguments, theirs), daemon=True)
    process.start()
    theirs.close()
    cleanup.callback(process.join)
    cleanup.callback(process.kill)
    assert process.pid is not None
    return ours, process.pid


def create(address: str, work: Work) -> None:
    """Makes the NPCs of the cast, and those that the crowd adapts."""
    with grpc.insecure_channel(address) as channel:
        make = npcs_pb2_grpc.NpcServiceStub(channel).CreateNpc
        wanted = resources_pb2.Npc(archetype=f"archetypes/{world.NAME}")
        calls = [
            make.future(npcs_pb2.CreateNpcRequest(npc_id=world.npc(number), npc=wanted))
            for number in range(work.large + work.clients)
        ]
        for call in calls:
            call.result()


def in_turns(
    running: Stage, work: Work, rounds: int, console: Console
) -> tuple[dict[tuple[str, int], list[float]], dict[tuple[str, int], float]]:
    """Frames of every server and size, one at a time, a block of each in turn; and the servers' processor time."""
    kinds = [(name, rows) for rows in (work.small, work.large) for name in running.pids]
    frames: dict[tuple[str, int], list[float]] = {kind: [] for kind in kinds}
    taken = dict.fromkeys(kinds, 0.0)
    for turn in track(range(rounds + 1), "frames", console=console):
        for name, rows in kinds:
            count = max(2, work.block // SLOW_BLOCK) if name == "sessions" else work.block
            before = processor.seconds(running.pids[name])
            request = mlserver.frame(rows) if name == mlserver.NAME else world.frame(rows)
            seconds = _ask(running.game, "lockstep", name, request, count, 0.0)
            if turn:  # the first one warms up
                frames[name, rows] += seconds
                taken[name, rows] += processor.seconds(running.pids[name]) - before
    return frames, {kind: seconds / len(frames[kind]) for kind, seconds in taken.items()}


def pair(running: Stage, work: Work, period: float) -> Pair:
    """A run with adaptation, then one with an unrelated process that takes the time that adaptation took.

    That is what all take more than they do while the server acts and nothing else happens, in a third run.
    """
    pids = [running.server, *processor.children(running.server), running.designers_pid]

    def play() -> tuple[list[Sent], float]:
        before = sum(map(processor.seconds, pids))
        frames = _ask(running.game, "paced", OURS, world.frame(work.small), work.pair_seconds, period)
        return frames, sum(map(processor.seconds, pids)) - before

    _, acting_took = play()
    running.designers.send(("while", 0, work.small // 2, work.pair_seconds))
    adapting, took = play()
    taught = running.designers.recv()
    share = (took - acting_took) / work.pair_seconds
    running.busy.send((share, work.pair_seconds))
    busy, _ = play()
    running.busy.recv()
    return Pair(adapting, taught, busy, share)


def floor(running: Stage) -> Callable[[], Lesson]:
    """Measures an adaptation and, beside it, a bare inner loop, a round trip without work and a write to the disk."""
    torch.set_num_threads(1)
    learner = build_learner(running.archetype)
    examples = clips.to_examples(clips.read(world.examples(0), SPEC, world.NAME))
    noise, file = draw_state_noise(learner, [0]), os.open(running.folder / "page", os.O_CREAT | os.O_WRONLY)

    def inner_loop() -> None:
        with torch.no_grad():
            learner.update(running.archetype.meta, learner.begin(running.archetype.meta, 1, noise), examples)

    def fsync() -> None:
        os.pwrite(file, os.urandom(PAGE), 0)
        os.fsync(file)

    def lesson() -> Lesson:
        (taught,) = _ask(running.designers, "lessons", 0, 1, 1)
        echo = _ask(running.designers, "echo", 0, 1, 1)
        return Lesson(taught.committed - taught.sent, _seconds(inner_loop), echo, _seconds(fsync))

    return lesson


def rates(running: Stage, work: Work) -> tuple[float, float]:
    """Adaptations a second of one client, and of many that do not wait for each other."""
    found = []
    for clients in (1, work.clients):
        amount = work.crowd if clients > 1 else work.crowd * 8
        began = time.perf_counter()
        taught = _ask(running.designers, "lessons", work.large, clients, amount)
        found.append(len(taught) / (time.perf_counter() - began))
    return found[0], found[1]


def _seconds(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _ask(connection: Connection, *command: object) -> Any:
    connection.send(command)
    return connection.recv()
