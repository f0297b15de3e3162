"""NPCs go from one server to another over gRPC and Connect, and act there as they did."""

import base64
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest

from npcmeta.archetype import Archetype, begin_npc, load_npc, npc_to_bytes, save_archetype
from npcmeta_server.cli import main
from npcmeta_server.demo import host
from npcmeta_server.gen.npcmeta.v1 import npcs_pb2, resources_pb2
from tests.server.client import Client, array, clip, observations, refusal


@pytest.fixture(scope="module")
def elsewhere(archetypes: dict[str, Archetype], tmp_path_factory: pytest.TempPathFactory) -> Iterator[host.Address]:
    """Another server: the same warden, another revision of guard, no scout."""
    folder = tmp_path_factory.mktemp("elsewhere")
    save_archetype(archetypes["warden"], folder / "warden.safetensors")
    save_archetype(archetypes["guard"]._replace(provenance={"run": 2}), folder / "guard.safetensors")
    with host.server(folder, folder / "npcs.db", folder / "log") as address:
        yield address
    assert " ERROR npcmeta_server" not in (folder / "log").read_text()


@pytest.fixture
def other(elsewhere: host.Address) -> Iterator[Client]:
    with grpc.insecure_channel(elsewhere.grpc) as channel:
        yield Client(channel)


def taken(client: Client, file: bytes, npc_id: str = "", request_id: str = "") -> resources_pb2.Npc:
    return client.npcs.ImportNpc(npcs_pb2.ImportNpcRequest(npc_id=npc_id, file=file, request_id=request_id))


def actions(client: Client, archetype: str, npc: str, *, sampled: bool) -> np.ndarray:
    answer = client.act_once(archetype, [npc] * 6, observations(6), sampled=sampled, number=3)
    return np.concatenate([array(answer.continuous_actions), array(answer.discrete_actions)], 1)


def test_an_npc_acts_elsewhere_as_it_did_here_to_the_bit_and_learns_on(
    client: Client, other: Client, archetypes: dict[str, Archetype]
) -> None:
    spec = archetypes["warden"].spec
    npc = client.create("warden", "emigrant", display_name="Bob Ä", seed=5)
    client.adapt(npc, clip(spec, 20, 1), clip(spec, 10, 2))
    header, file = client.fetch(f"{npc}/assets/npc")
    assert (header.file_name, header.npc_revision) == ("emigrant.npc.safetensors", 2)
    found = taken(other, file)
    assert (found.name, found.display_name, found.seed, found.examples) == (npc, "Bob Ä", 5, 30)
    assert (found.archetype, found.revision) == ("archetypes/warden", f"{npc}/revisions/1")
    for sampled in (False, True):
        here, there = (actions(each, "warden", npc, sampled=sampled) for each in (client, other))
        assert here.tobytes() == there.tobytes()
    assert client.fetch(f"{npc}/assets/state")[1] == other.fetch(f"{npc}/assets/state")[1]
    here, there = (
        each.npcs.GetRevision(npcs_pb2.GetRevisionRequest(name=name))
        for each, name in ((client, header.name.replace("assets/npc", "revisions/2")), (other, found.revision))
    )
    assert there.support_nll == pytest.approx(here.support_nll, rel=1e-5)
    for each in (client, other):
        each.adapt(npc, clip(spec, 8, 4))
    assert client.fetch(f"{npc}/assets/state")[1] == other.fetch(f"{npc}/assets/state")[1]
    assert other.fetch(f"{npc}/assets/npc")[1] == client.fetch(f"{npc}/assets/npc")[1]


def test_with_another_revision_it_is_adapted_again_from_its_demonstrations(
    client: Client, other: Client, archetypes: dict[str, Archetype]
) -> None:
    shown = clip(archetypes["guard"].spec, 9)
    npc, native = client.create("guard", "convert", seed=7), other.create("guard", "native", seed=7)
    for each, name in ((client, npc), (other, native)):
        each.adapt(name, shown)
    found = taken(other, client.fetch(f"{npc}/assets/npc")[1])
    assert found.examples == 9
    revision = other.npcs.GetRevision(npcs_pb2.GetRevisionRequest(name=found.revision))
    assert revision.archetype_revision != archetypes["guard"].revision
    assert other.fetch(f"{npc}/assets/state")[1] == other.fetch(f"{native}/assets/state")[1]
    assert other.adapt(npc, shown)[0].started.examples == 9


def test_who_has_learned_nothing_begins_afresh_with_another_revision(client: Client, other: Client) -> None:
    npc, native = client.create("guard", "blank", seed=7), other.create("guard", "native-blank", seed=7)
    assert taken(other, client.fetch(f"{npc}/assets/npc")[1]).examples == 0
    assert other.fetch(f"{npc}/assets/state")[1] == other.fetch(f"{native}/assets/state")[1]


def test_a_file_is_taken_over_json_once_under_its_request_id_and_under_another_name(
    server: host.Address, client: Client, archetypes: dict[str, Archetype]
) -> None:
    npc = client.create("guard")
    client.adapt(npc, clip(archetypes["guard"].spec, 5))
    file = client.fetch(f"{npc}/assets/npc")[1]
    body = {"npcId": "json-copy", "file": base64.b64encode(file).decode(), "requestId": "json-import"}
    answers = [httpx.post(f"{server.http}/npcmeta.v1.NpcService/ImportNpc", json=body, timeout=20) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert client.get("npcs/json-copy").examples == 5
    with pytest.raises(grpc.RpcError) as caught:
        taken(client, file, "json-copy-2", request_id="json-import")
    assert refusal(caught.value)[1] == "REQUEST_ID_REUSED"


def test_who_comes_without_a_seed_gets_one_once(
    client: Client, other: Client, archetypes: dict[str, Archetype]
) -> None:
    begun = begin_npc(archetypes["guard"], "seedless")
    assert begun.seed == 0
    file = npc_to_bytes(begun)
    for each in (client, other):  # as it is, and adapted again
        first, again = (taken(each, file, "seedless-1", request_id="seedless-1") for _ in range(2))
        assert first == again
        assert len({0, first.seed, taken(each, file, "seedless-2").seed}) == 3
        assert taken(each, each.fetch(f"{first.name}/assets/npc")[1], "seedless-3").seed == first.seed


def test_what_cannot_be_taken_is_refused_with_the_reason(
    client: Client, other: Client, archetypes: dict[str, Archetype]
) -> None:
    scout = client.create("scout", "stay-at-home")
    file = client.fetch(f"{scout}/assets/npc")[1]
    refused = {
        "REVISION_UNAVAILABLE": lambda: taken(other, file),
        "NPC_EXISTS": lambda: taken(client, file),
        "INVALID_NAME": lambda: taken(client, file, "No Name"),
        "INVALID_FILE": lambda: taken(client, file[:-1], "broken"),
    }
    for reason, ask in refused.items():
        with pytest.raises(grpc.RpcError) as caught:
            ask()
        assert refusal(caught.value)[1] == reason
    with pytest.raises(grpc.RpcError) as caught:
        client.get("npcs/broken")
    assert refusal(caught.value)[1] == "NPC_NOT_FOUND"


def test_the_command_line_takes_what_a_server_gives_and_the_other_way_round(
    client: Client, archetypes: dict[str, Archetype], archetype_folder: Path, tmp_path: Path
) -> None:
    npc = client.create("guard", "home-worker", seed=2)
    client.adapt(npc, clip(archetypes["guard"].spec, 6))
    path, archetype = tmp_path / "home-worker.npc", archetype_folder / "guard.safetensors"
    path.write_bytes(client.fetch(f"{npc}/assets/npc")[1])
    assert main(["export", str(archetype), "--npc", str(path), "--target", "ort", "--out", str(tmp_path / "out")]) == 0
    loaded = load_npc(path, archetypes["guard"])
    fields = {name: value.numpy() for name, value in loaded.demonstrations[0].items()}
    np.savez(
        tmp_path / "demo.npz",
        observations=fields["observations"],
        continuous_actions=fields["continuous_actions"],
        discrete_actions=fields["discrete_actions"],
    )
    made = ["--demo", str(tmp_path / "demo.npz"), "--out", str(tmp_path / "typed.npc"), "--seed", "2"]
    assert main(["adapt", str(archetype), *made]) == 0
    typed = taken(client, (tmp_path / "typed.npc").read_bytes())
    assert (typed.name, typed.examples) == ("npcs/typed", 6)
    assert client.fetch("npcs/typed/assets/state")[1] == client.fetch(f"{npc}/assets/state")[1]
    assert client.adapt(typed.name, clip(archetypes["guard"].spec, 1))[0].started.examples == 6
