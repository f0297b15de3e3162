"""All methods at once: many clients over the same few NPCs, whose archetype is upgraded and retired meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc

from npcmeta_server.cli import top
from npcmeta_server.gen.npcmeta.v1 import act_pb2, npcs_pb2
from tests.server import conftest
from tests.server.client import Client, Stream, cast, group, info_of, observations, part, refusal, tick
from tests.soak.report import Report, Tell
from tests.soak.victim import ARCHETYPE, Victim, resident_mebibytes, victim
from tests.soak.visitors import REFUSALS, WEIGHTS, Npc, Throng, Visitor

CLIENTS, PLAYERS = 8, 2
CAST = 12
SETTLE_SECONDS = 30.0
LEFT = {
    "npcmeta_calls_under_way": 1, "npcmeta_adaptations_waiting": 0, "npcmeta_lesson_bytes": 0,
    "npcmeta_npcs_stored": 0, "npcmeta_npcs_resident": 0,
}  # fmt: skip
"""What the metrics say when everybody is gone; the call is that for the metrics themselves."""


def run(folder: Path, calls: int, seed: int, tell: Tell) -> Report:
    """Lets clients make so many calls, each at random."""
    files = []
    for number in range(3):
        (folder / str(number)).mkdir()
        conftest.save(ARCHETYPE, folder / str(number), number)
        files.append((folder / str(number) / f"{ARCHETYPE}.safetensors").read_bytes())
    with victim(folder) as server:
        throng = Throng(files, seed, calls)
        threads = [threading.Thread(target=_guarded, args=(throng, _visit, server, tell)) for _ in range(CLIENTS)]
        threads += [threading.Thread(target=_guarded, args=(throng, _play, server)) for _ in range(PLAYERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not throng.failure, throng.failure
        memory = resident_mebibytes(server.pid)
        _leave(server, throng)
        server.check()
    tell(1.0)
    figures: dict[str, float | int | str] = {"calls": calls, "npcs": len(throng.npcs), "mebibytes": round(memory, 1)}
    return Report("throng", figures | {"frames": throng.done["frames"], "refused": throng.done["refused"]})


def _guarded(throng: Throng, work: Callable[..., None], server: Victim, *more: object) -> None:
    try:
        with grpc.insecure_channel(server.address.grpc, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            work(throng, channel, *more)
    except BaseException as error:
        throng.fail(repr(error))


def _visit(throng: Throng, channel: grpc.Channel, tell: Tell) -> None:
    """One client, until all calls are made."""
    while (chance := throng.draw()) is not None:
        [method] = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
        visitor = Visitor(channel, throng, chance, throng.anybody(chance))
        try:
            method(visitor)
        except grpc.RpcError as error:
            _, reason, message = refusal(error)
            assert reason in REFUSALS, f"{method.__name__}: {reason}: {message}"
            throng.done["refused"] += 1
        tell(0.99 * (1 - max(0, throng.left) / throng.calls))


def _play(throng: Throng, channel: grpc.Channel) -> None:
    """One game, which casts somebody else now and then, and sees who acts with which revision."""
    while throng.left > 0 and not throng.failure:
        npcs = [npc for npc in throng.npcs if not npc.leaving][-CAST:]
        stream = Stream(Client(channel).acting.Act)
        [seated] = stream.ask(cast(group(0, ARCHETYPE, {i: npc.name for i, npc in enumerate(npcs)}))).cast.groups
        for refused in seated.refused:
            npc, reason = npcs[refused.index], info_of(refused.status).reason
            assert reason in REFUSALS, reason
            assert npc.leaving or reason != "NPC_NOT_FOUND", f"{npc.name} lives, and is refused"
        at = list(seated.indices)
        for number in range(50 if at else 0):
            _frame(throng, stream, number, at, npcs)
        stream.close()


def _frame(throng: Throng, stream: Stream, number: int, at: list[int], npcs: list[Npc]) -> None:
    known = {i: (npcs[i].acknowledged, npcs[i].gone) for i in at}
    [answer] = stream.ask(tick(number, part(0, at, observations(len(at))))).tick.parts
    throng.done["frames"] += 1
    if answer.status.code:
        assert info_of(answer.status).reason == "NPC_NOT_FOUND", answer.status.message
        left = [i for i in at if npcs[i].leaving]
        assert left, f"{answer.status.message}, and all of them live"
        stream.ask(cast(removals=[act_pb2.Removal(group=0, indices=left)]))
        at[:] = [i for i in at if i not in left]
        return
    for i, revision in zip(answer.indices, answer.revisions, strict=True):
        acknowledged, gone = known[i]
        npcs[i].acted.add(revision)
        assert not gone, f"{npcs[i].name} was deleted, and acts"
        assert npcs[i].rolled_back or revision >= acknowledged, f"{npcs[i].name} acts with what it was before"


def _leave(server: Victim, throng: Throng) -> None:
    """Everybody acted with what was committed; when all are deleted, nothing is left of them."""
    with grpc.insecure_channel(server.address.grpc) as channel:
        client = Client(channel)
        for npc in (each for each in throng.npcs if not each.gone):
            listed = client.npcs.ListRevisions(npcs_pb2.ListRevisionsRequest(parent=npc.name, page_size=1000)).revisions
            assert npc.acted <= {each.number for each in listed}, f"{npc.name} acted with what nobody committed"
            client.npcs.DeleteNpc(npcs_pb2.DeleteNpcRequest(name=npc.name))
        assert not client.npcs.ListNpcs(npcs_pb2.ListNpcsRequest()).npcs
    deadline = time.monotonic() + SETTLE_SECONDS
    while (found := _left(server)) != LEFT:
        assert time.monotonic() < deadline, f"the metrics say {found}, expected {LEFT}"
        time.sleep(0.1)


def _left(server: Victim) -> dict[str, float]:
    said = top.read(server.address.http, "")
    return {name: said.total(name) for name in LEFT}
