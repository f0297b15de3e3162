"""Two servers that start at once on one empty database of PostgreSQL, and whose clients teach the same NPC."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from npcmeta_server.gen.npcmeta.v1 import npcs_pb2
from tests.server.client import Client, cast, group, observations, part, refusal, tick
from tests.server.store.postgres import PASSWORD, Cluster
from tests.server.test_life import SHOWN, folder
from tests.server.test_life_faults import acting, serving

__all__ = ["folder"]


@pytest.mark.postgres
def test_two_servers_teach_one_npc_and_act_as_the_database_says(folder: Path, cluster: Cluster) -> None:
    url = cluster.new_database()
    with contextlib.ExitStack() as stack:
        with ThreadPoolExecutor(2) as threads:
            served = list(threads.map(lambda _: stack.enter_context(serving(folder, url)), range(2)))
        clients = [Client(stack.enter_context(grpc.insecure_channel(address))) for _, address in served]
        first, second = clients
        npc = first.create("guard", "bob")
        stream = acting(second, npc)
        for number in range(2, 6):
            teacher = clients[number % 2]
            assert teacher.adapt(npc, SHOWN)[-1].committed.revision.examples == 5 * (number - 1)
            stream.ask(cast(group(0, "guard", {0: npc})))  # from the next cast on
            frame = stream.ask(tick(number, part(0, [0], observations(1)))).tick
            assert list(frame.parts[0].revisions) == [number]
            assert [list(each.act_once("guard", [npc], observations(1)).revisions) for each in clients] == [
                [number]
            ] * 2
        stream.close()
        first.npcs.DeleteNpc(npcs_pb2.DeleteNpcRequest(name=npc))
        with pytest.raises(grpc.RpcError) as caught:
            second.get(npc)
        assert refusal(caught.value)[1] == "NPC_NOT_FOUND"
    assert PASSWORD not in (folder / "log").read_text()
