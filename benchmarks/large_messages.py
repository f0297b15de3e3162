"""How long frames wait while one large message is taken in: an Act stream beside somebody who sends 7 or 60 MiB.

OMP_NUM_THREADS=1 python benchmarks/large_messages.py [--mebibytes 7 60] [--calls 5] [--json FILE]

A real server; one process plays an NPC, a frame every 4 ms, another one sends. The rows: nobody sends; a demonstration
of so many MiB in one AdaptOnce, the same in an Adapt stream of 2 MiB messages, an archetype's file in one
UploadArchetypeOnce, an NPC's file in one ImportNpc, and an ActOnce of empty names, which is what somebody hostile would
send. "p99" and "longest" are of the frames that were under way during those calls, "call" is the median of the calls
themselves, and a reason stands behind it where they were refused.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import queue
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import numpy as np
import torch
from google.rpc import error_details_pb2, status_pb2
from rich.console import Console
from rich.table import Table

from npcmeta.archetype import Archetype, begin_npc, npc_to_bytes, save_archetype
from npcmeta.learners import settings_type
from npcmeta.types import ActionSpec, BehaviorSpec, Normaliser
from npcmeta_server import tensors
from npcmeta_server.demo import host
from npcmeta_server.gen.npcmeta.v1 import (
    act_pb2,
    act_pb2_grpc,
    adapt_pb2,
    adapt_pb2_grpc,
    archetypes_pb2,
    archetypes_pb2_grpc,
    npcs_pb2,
    npcs_pb2_grpc,
    resources_pb2,
    tensor_pb2,
)

SPEC = BehaviorSpec(1024, ActionSpec(2, ()), 60.0)
ROWS_OF_A_MEBIBYTE = 255
STREAMED_MEBIBYTES = 2
PERIOD = 0.004
KINDS = ("nobody", "AdaptOnce", "Adapt", "UploadArchetypeOnce", "ImportNpc", "ActOnce of empty names")
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
Window = tuple[float, float, str]


def draft(name: str, hidden: int) -> Archetype:
    """An untrained archetype whose size is that of its hidden layers."""
    settings = settings_type("cnp")(hidden=(hidden, hidden))
    meta = settings.build(SPEC).init(torch.Generator().manual_seed(0))
    unit = Normaliser((0.0,) * SPEC.observation_size, (1.0,) * SPEC.observation_size)
    return Archetype(name, "bench", "cnp", settings, SPEC, unit, {}, {}, meta)


def examples(mebibytes: float) -> tensor_pb2.Examples:
    rows = int(ROWS_OF_A_MEBIBYTE * mebibytes)
    seen = np.random.default_rng(0).standard_normal((rows, SPEC.observation_size), np.float32)
    done = np.zeros((rows, 2), np.float32)
    return tensor_pb2.Examples(observations=tensors.write(seen), continuous_actions=tensors.write(done))


def npc_file(folder: Path, mebibytes: int) -> bytes:
    """An NPC with demonstrations, which is adapted again when it comes: its archetype has another revision by then."""
    archetype, rows = save_archetype(draft("bench", 17), folder / "older"), ROWS_OF_A_MEBIBYTE * mebibytes
    shown = {"observations": torch.randn(rows, SPEC.observation_size), "continuous_actions": torch.zeros(rows, 2),
             "weights": torch.ones(rows)}  # fmt: skip
    return npc_to_bytes(begin_npc(archetype, "bench")._replace(examples=rows, demonstrations=(shown,)))


def call_of(kind: str, mebibytes: int, folder: Path, channel: grpc.Channel) -> Callable[[int], object]:
    """What the sender calls, with the number of the call."""
    if kind == "nobody":
        return lambda _: time.sleep(0.5)
    if kind == "ActOnce of empty names":
        empty = act_pb2.ActOnceRequest(npcs=[""]).SerializeToString() * (mebibytes << 19)
        return lambda _: channel.unary_unary("/npcmeta.v1.ActService/ActOnce")(empty)
    if kind == "UploadArchetypeOnce":
        hidden = int((SPEC.observation_size**2 / 4 + mebibytes * (1 << 18)) ** 0.5 - SPEC.observation_size / 2)
        save_archetype(draft(f"large-{mebibytes}", hidden), folder / "large")
        upload = archetypes_pb2.UploadArchetypeOnceRequest(data=(folder / "large").read_bytes())
        upload.setup.archetype = f"archetypes/large-{mebibytes}"
        return lambda _: archetypes_pb2_grpc.ArchetypeServiceStub(channel).UploadArchetypeOnce(upload)
    if kind == "ImportNpc":
        npcs, file = npcs_pb2_grpc.NpcServiceStub(channel), npc_file(folder, mebibytes)
        return lambda i: npcs.ImportNpc(npcs_pb2.ImportNpcRequest(npc_id=f"npc-{mebibytes}-{i}", file=file))
    adapting = adapt_pb2_grpc.AdaptServiceStub(channel)
    setup = adapt_pb2.AdaptSetup(npc="npcs/pupil", from_scratch=True)
    if kind == "AdaptOnce":
        whole = adapt_pb2.AdaptOnceRequest(setup=setup, examples=[examples(mebibytes)])
        return lambda _: list(adapting.AdaptOnce(whole))
    shown = [adapt_pb2.AdaptRequest(examples=examples(STREAMED_MEBIBYTES))] * (mebibytes // STREAMED_MEBIBYTES)
    commit = adapt_pb2.AdaptRequest(commit=adapt_pb2.Commit())
    return lambda _: list(adapting.Adapt(iter([adapt_pb2.AdaptRequest(setup=setup), *shown, commit])))


def send(address: str, calls: int, connection: Connection) -> None:
    """Body of the process that sends: takes (kind, MiB), gives when each call began, ended, and how."""
    torch.set_num_threads(1)
    with grpc.insecure_channel(address, UNLIMITED) as channel, TemporaryDirectory() as folder:
        while (wanted := connection.recv()) is not None:
            call = call_of(*wanted, Path(folder), channel)
            connection.send([window(functools.partial(call, i)) for i in range(calls)])


def window(call: Callable[[], object]) -> Window:
    time.sleep(0.5)
    began, reason = time.monotonic(), ""
    try:
        call()
    except grpc.RpcError as error:
        reason = error.code().name  # type: ignore[attr-defined]
        for key, value in error.trailing_metadata():  # type: ignore[attr-defined]
            if key == "grpc-status-details-bin":
                info = error_details_pb2.ErrorInfo()
                status_pb2.Status.FromString(value).details[0].Unpack(info)
                reason = info.reason
    return began, time.monotonic(), reason


def play(address: str, stop: threading.Event, frames: list[tuple[float, float]]) -> None:
    """Plays an NPC until it is told to stop; notes when each frame began and how long it took."""
    asked: queue.Queue[act_pb2.ActRequest] = queue.Queue()
    group = act_pb2.Group(group=0, archetype="archetypes/bench", members=[act_pb2.Member(index=0, npc="npcs/actor")])
    seen = tensors.write(np.zeros((1, SPEC.observation_size), np.float32))
    frame = act_pb2.ActRequest(
        tick=act_pb2.Tick(number=1, parts=[act_pb2.Part(group=0, indices=[0], observations=seen)])
    )
    with grpc.insecure_channel(address) as channel:
        stream = act_pb2_grpc.ActServiceStub(channel).Act(iter(asked.get, None))
        asked.put(act_pb2.ActRequest(cast=act_pb2.Cast(groups=[group])))
        next(stream)
        while not stop.is_set():
            began = time.monotonic()
            asked.put(frame)
            next(stream)
            frames.append((began, time.monotonic() - began))
            time.sleep(max(0.0, began + PERIOD - time.monotonic()))
        stream.cancel()


def measure(address: str, sizes: list[int], calls: int) -> Iterator[dict[str, object]]:
    """A row for each kind of call and size."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    sender = context.Process(target=send, args=(address, calls, theirs), daemon=True)
    sender.start()
    frames: list[tuple[float, float]] = []
    stop = threading.Event()
    player = threading.Thread(target=play, args=(address, stop, frames))
    player.start()
    for mebibytes in sizes:
        for kind in KINDS:
            ours.send((kind, mebibytes))
            windows: list[Window] = ours.recv()
            waited = [
                1e3 * took for at, took in frames if any(at < end and at + took > start for start, end, _ in windows)
            ]
            calls_took = [1e3 * (end - start) for start, end, _ in windows]
            yield {
                "kind": kind, "MiB": mebibytes, "call": statistics.median(calls_took), "refused": windows[-1][2],
                "p50": statistics.median(waited), "p99": float(np.percentile(waited, 99)), "longest": max(waited),
            }  # fmt: skip
    ours.send(None)
    stop.set()
    player.join()
    sender.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mebibytes", type=int, nargs="+", default=[7, 60])
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("what is sent", "MiB", "call, ms", "frames, p50", "p99", "longest")
    rows = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "archetypes").mkdir()
        save_archetype(draft("bench", 16), folder / "archetypes" / "bench.safetensors")
        with host.server(folder / "archetypes", folder / "npcs.db", folder / "log") as server:
            with grpc.insecure_channel(server.grpc) as channel:
                for npc in ("actor", "pupil"):
                    wanted = resources_pb2.Npc(archetype="archetypes/bench")
                    npcs_pb2_grpc.NpcServiceStub(channel).CreateNpc(npcs_pb2.CreateNpcRequest(npc_id=npc, npc=wanted))
            for row in measure(server.grpc, options.mebibytes, options.calls):
                rows.append(row)
                shown = [f"{row[key]:.1f}" for key in ("call", "p50", "p99", "longest")]
                table.add_row(str(row["kind"]), str(row["MiB"]), f"{shown[0]} {row['refused']}", *shown[1:])
    Console(width=120).print(table)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
