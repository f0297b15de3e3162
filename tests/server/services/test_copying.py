"""Clones over gRPC: they act as their source does, learn on, and need it no more."""

import grpc
import numpy as np
import pytest

from npcmeta.archetype import Archetype
from npcmeta_server.gen.npcmeta.v1 import npcs_pb2, resources_pb2
from tests.server.client import Client, array, clip, observations, refusal


def clone(client: Client, source: str, npc_id: str = "", request_id: str = "", **more: object) -> resources_pb2.Npc:
    wanted = npcs_pb2.CloneNpcRequest(
        source=source, npc_id=npc_id, npc=resources_pb2.Npc(**more), request_id=request_id
    )
    return client.npcs.CloneNpc(wanted)


def actions(client: Client, archetype: str, npc: str, *, sampled: bool) -> np.ndarray:
    answer = client.act_once(archetype, [npc] * 6, observations(6), sampled=sampled, number=3)
    return np.concatenate([array(answer.continuous_actions), array(answer.discrete_actions)], 1)


def state(client: Client, npc: str) -> bytes:
    return client.fetch(f"{npc}/assets/state")[1]


def test_a_clone_acts_as_its_source_and_learns_on_without_it(client: Client, archetypes: dict[str, Archetype]) -> None:
    spec = archetypes["warden"].spec
    source = client.create("warden", display_name="Bob", seed=5)
    client.adapt(source, clip(spec, 20, 1), clip(spec, 10, 2))
    client.adapt(source, clip(spec, 5, 3))
    copy = clone(client, source, display_name="Rob", seed=5)
    assert (copy.display_name, copy.seed, copy.examples) == ("Rob", 5, 35)
    assert (copy.archetype, copy.revision) == ("archetypes/warden", f"{copy.name}/revisions/1")
    kept = client.npcs.GetRevision(npcs_pb2.GetRevisionRequest(name=f"{source}/revisions/3"))
    first = client.npcs.GetRevision(npcs_pb2.GetRevisionRequest(name=copy.revision))
    assert (first.examples, first.support_nll) == (kept.examples, kept.support_nll)
    for sampled in (False, True):
        one, other = (actions(client, "warden", npc, sampled=sampled) for npc in (source, copy.name))
        np.testing.assert_array_equal(one, other)
    for npc in (source, copy.name):
        client.adapt(npc, clip(spec, 8, 4))
    expected = state(client, source)
    client.npcs.DeleteNpc(npcs_pb2.DeleteNpcRequest(name=source))
    assert state(client, copy.name) == expected
    started = client.adapt(copy.name, clip(spec, 2, 5))[0].started
    assert started.examples == 43


def test_a_clone_gets_a_seed_of_its_own_and_draws_other_actions(
    client: Client, archetypes: dict[str, Archetype]
) -> None:
    source = client.create("guard", seed=5)
    client.adapt(source, clip(archetypes["guard"].spec, 5))
    copy = clone(client, source)
    assert copy.seed not in (0, 5)
    assert copy.seed < 1 << 53  # a number of JavaScript's holds it
    np.testing.assert_array_equal(
        actions(client, "guard", source, sampled=False), actions(client, "guard", copy.name, sampled=False)
    )
    assert not np.array_equal(
        actions(client, "guard", source, sampled=True), actions(client, "guard", copy.name, sampled=True)
    )


def test_a_clone_of_an_npc_that_was_rolled_back_is_what_acts(client: Client, archetypes: dict[str, Archetype]) -> None:
    source = client.create("guard")
    client.adapt(source, clip(archetypes["guard"].spec, 5))
    client.npcs.RollbackNpc(npcs_pb2.RollbackNpcRequest(name=source, revision=f"{source}/revisions/1"))
    copy = clone(client, source)
    assert copy.examples == 0
    assert not client.npcs.ListDemonstrations(npcs_pb2.ListDemonstrationsRequest(parent=copy.name)).demonstrations
    assert state(client, copy.name) == state(client, source)


def test_a_retried_clone_is_one_clone(client: Client) -> None:
    source = client.create("guard")
    first, again = (clone(client, source, request_id=f"{source}-twin") for _ in range(2))
    assert first == again
    with pytest.raises(grpc.RpcError) as caught:
        clone(client, source, request_id=f"{source}-twin", seed=9)
    assert refusal(caught.value)[1] == "REQUEST_ID_REUSED"


def test_who_cannot_be_cloned_is_refused_with_the_reason(client: Client) -> None:
    source = client.create("guard")
    refused = {
        "NPC_NOT_FOUND": lambda: clone(client, "npcs/nobody"),
        "NPC_EXISTS": lambda: clone(client, source, source.removeprefix("npcs/")),
        "INVALID_NAME": lambda: clone(client, "nobody"),
        "WRONG_ARCHETYPE": lambda: clone(client, source, archetype="archetypes/scout"),
        "INVALID_ARGUMENT": lambda: clone(client, source, seed=(1 << 63)),
    }
    for reason, ask in refused.items():
        with pytest.raises(grpc.RpcError) as caught:
            ask()
        assert refusal(caught.value)[1] == reason
