"""Archetypes over the wire: uploaded, vetted, shown with their revisions, retired; hostile files leave nothing."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from npcmeta.archetype import Archetype, save_archetype
from npcmeta_server.demo import host
from npcmeta_server.gen.npcmeta.v1 import archetypes_pb2, npcs_pb2, resources_pb2
from npcmeta_server.gen.open_inference import inference_pb2
from npcmeta_server.limits import MAX_ARCHETYPE_BYTES
from tests.server import conftest
from tests.server.client import Client, Stream, array, cast, group, observations, part, refusal, tick


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> tuple[Archetype, Path]:
    folder = tmp_path_factory.mktemp("old")
    return conftest.save("guard", folder, 1, trained=False), folder


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> tuple[Archetype, bytes]:
    folder = tmp_path_factory.mktemp("new")
    return conftest.save("guard", folder, 2, trained=False), (folder / "guard.safetensors").read_bytes()


@pytest.fixture(scope="module")
def server(old: tuple[Archetype, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[host.Address]:
    folder = tmp_path_factory.mktemp("server")
    with host.server(old[1], folder / "npcs.db", folder / "log") as address:
        yield address


def chunks(data: bytes, name: str = "guard", size: int = 1000, **setup: Any) -> Iterator[Any]:
    yield archetypes_pb2.UploadArchetypeRequest(
        setup=archetypes_pb2.UploadSetup(archetype=f"archetypes/{name}", **setup)
    )
    for start in range(0, len(data), size):
        yield archetypes_pb2.UploadArchetypeRequest(chunk=data[start : start + size])


def get(client: Client, name: str = "guard") -> resources_pb2.Archetype:
    return client.archetypes.GetArchetype(archetypes_pb2.GetArchetypeRequest(name=f"archetypes/{name}"))


def retire(client: Client, name: str, revision: str = "") -> None:
    client.archetypes.RetireArchetype(
        archetypes_pb2.RetireArchetypeRequest(name=f"archetypes/{name}", revision=revision)
    )


def refused(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return refusal(caught.value)[1:]


def test_an_upload_acts_beside_what_there_is_and_becomes_current_when_told(
    client: Client, old: tuple[Archetype, Path], new: tuple[Archetype, bytes]
) -> None:
    amy = client.create("guard")
    stream, seen = Stream(client.acting.Act), observations(1)
    stream.ask(cast(group(0, "guard", {0: amy})))
    before = stream.ask(tick(1, part(0, [0], seen))).tick.parts[0]
    staged = client.archetypes.UploadArchetype(chunks(new[1]))
    assert [(each.revision, each.current, each.active) for each in staged.revisions] == [
        (old[0].revision, True, True),
        (new[0].revision, False, True),
    ]
    assert client.archetypes.UploadArchetype(chunks(new[1], current=True)).revision == new[0].revision
    bob = client.create("guard")
    both = cast(group(0, "", {1: bob})), cast(group(1, "guard", {0: bob, 7: amy}))
    assert [list(stream.ask(each).cast.groups[0].indices) for each in both] == [[0, 1], [0, 7]]
    after = stream.ask(tick(2, part(0, [1, 0], np.repeat(seen, 2, 0)))).tick.parts[0]
    np.testing.assert_array_equal(array(after.continuous_actions)[1:], array(before.continuous_actions))
    assert not np.allclose(array(after.continuous_actions)[0], array(before.continuous_actions)[0])
    listed = {each.archetype_revision for npc in (amy, bob) for each in revisions_of(client, npc)}
    assert listed == {old[0].revision, new[0].revision}
    code, reason, message = refusal_of_retiring(client, old[0].revision)
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ARCHETYPE_IN_USE")
    assert "1 NPCs act with it" in message
    assert refused(lambda: retire(client, "guard", new[0].revision))[0] == "ARCHETYPE_IN_USE"
    stream.close()
    client.npcs.DeleteNpc(npcs_pb2.DeleteNpcRequest(name=amy))
    retire(client, "guard", old[0].revision)
    assert [(each.active, each.current) for each in get(client).revisions] == [(True, True), (False, False)]
    assert client.archetypes.UploadArchetype(chunks((old[1] / "guard.safetensors").read_bytes(), current=True))
    assert list(client.act_once("guard", [bob], seen).revisions) == [1]


def revisions_of(client: Client, npc: str) -> Any:
    return client.npcs.ListRevisions(npcs_pb2.ListRevisionsRequest(parent=npc)).revisions


def refusal_of_retiring(client: Client, revision: str) -> tuple[grpc.StatusCode, str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        retire(client, "guard", revision)
    return refusal(caught.value)


def test_a_new_archetype_is_offered_at_once_and_gone_when_it_is_retired(client: Client, tmp_path: Path) -> None:
    conftest.save("scout", tmp_path)
    data = (tmp_path / "scout.safetensors").read_bytes()
    request = archetypes_pb2.UploadArchetypeOnceRequest(
        setup=archetypes_pb2.UploadSetup(archetype="archetypes/scout", request_id="monday"), data=data
    )
    assert [client.archetypes.UploadArchetypeOnce(request).name for _ in range(2)] == ["archetypes/scout"] * 2
    scout = client.create("scout")
    assert refused(lambda: retire(client, "scout"))[0] == "ARCHETYPE_IN_USE"
    client.npcs.DeleteNpc(npcs_pb2.DeleteNpcRequest(name=scout))
    retire(client, "scout")
    assert refused(lambda: client.create("scout"))[0] == "ARCHETYPE_NOT_FOUND"
    request.setup.request_id = "tuesday"
    client.archetypes.UploadArchetypeOnce(request)
    assert list(client.act_once("scout", [client.create("scout")], observations(1)).revisions) == [1]


def bomb(data: bytes) -> bytes:
    """A header that asks for more memory than there is."""
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    described = json.loads(header["__metadata__"]["npcmeta"])
    described["spec"]["observation_size"] = 16384
    described["settings"]["hidden"] = [1 << 20, 1 << 20]
    header["__metadata__"]["npcmeta"] = json.dumps(described)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def poisoned(archetype: Archetype, folder: Path) -> bytes:
    """A weight that is NaN, under a digest that is right."""
    first = next(iter(archetype.meta))
    meta = {**archetype.meta, first: torch.full_like(archetype.meta[first], float("nan"))}
    save_archetype(archetype._replace(meta=meta), folder / "x.safetensors")
    return (folder / "x.safetensors").read_bytes()


@pytest.mark.slow
def test_hostile_files_get_clear_reasons_and_leave_nothing(
    client: Client, new: tuple[Archetype, bytes], tmp_path: Path
) -> None:
    archetype, data = new
    slower = archetype._replace(spec=archetype.spec._replace(tick_rate_hz=3.0))
    save_archetype(slower, tmp_path / "slower.safetensors")
    wrong_learner = data.replace(b'\\"learner\\": \\"cnp\\"', b'\\"learner\\": \\"cmp\\"')
    assert wrong_learner != data
    before = get(client)
    cases = {
        "no bytes": (b"", "INVALID_ARCHETYPE", "expected an intact npcmeta.archetype file"),
        "garbage": (b"\xff" * 5000, "INVALID_ARCHETYPE", "expected an intact"),
        "cut": (data[:-7], "INVALID_ARCHETYPE", "expected an intact"),
        "huge header": (struct.pack("<Q", 1 << 62) + data[8:], "INVALID_ARCHETYPE", "expected an intact"),
        "deep header": (struct.pack("<Q", 200_000) + b"[" * 200_000, "INVALID_ARCHETYPE", "nothing was kept"),
        "only tensors": (save(load(data)), "INVALID_ARCHETYPE", "expected an intact"),
        "bomb": (bomb(data), "INVALID_ARCHETYPE", "nothing was kept"),
        "wrong learner": (wrong_learner, "INVALID_ARCHETYPE", "cmp"),
        "tampered": (data[:-1] + bytes([data[-1] ^ 1]), "INVALID_ARCHETYPE", "was changed after it was written"),
        "NaN": (poisoned(archetype, tmp_path), "INVALID_ARCHETYPE", "NaN"),
        "other spec": ((tmp_path / "slower.safetensors").read_bytes(), "SPEC_MISMATCH", "an archetype of its own"),
    }
    for case, (hostile, reason, text) in cases.items():
        found, message = refused(
            lambda hostile=hostile: client.archetypes.UploadArchetype(chunks(hostile, size=1 << 20))
        )
        assert (case, found) == (case, reason)
        assert text in message, case
    other_name = refused(lambda: client.archetypes.UploadArchetype(chunks(data, "scribe")))[1]
    assert other_name.startswith("the file is of archetypes/guard, the request says archetypes/scribe; name the one")
    assert refused(lambda: client.archetypes.UploadArchetype(chunks(data, "../x")))[0] == "INVALID_NAME"
    assert refused(lambda: client.archetypes.UploadArchetype(iter([])))[0] == "INVALID_STREAM"
    endless = (archetypes_pb2.UploadArchetypeRequest(chunk=bytes(4 << 20)) for _ in range(80))
    setup = next(chunks(b""))
    too_long = refused(lambda: client.archetypes.UploadArchetype(each for part in ([setup], endless) for each in part))
    assert too_long == ("TOO_MANY", f"the file has more than {MAX_ARCHETYPE_BYTES} bytes, expected no more")
    assert {each.revision for each in get(client).revisions} == {each.revision for each in before.revisions}
    assert get(client).revision == before.revision
    assert list(client.act_once("guard", [client.create("guard")], observations(1)).revisions) == [1]


def test_an_upload_by_plain_http(server: host.Address, new: tuple[Archetype, bytes]) -> None:
    body = archetypes_pb2.UploadArchetypeOnceRequest(
        setup=archetypes_pb2.UploadSetup(archetype="archetypes/guard", current=True), data=new[1]
    )
    answer = httpx.post(
        f"{server.http}/npcmeta.v1.ArchetypeService/UploadArchetypeOnce",
        content=body.SerializeToString(),
        headers={"content-type": "application/proto"},
        timeout=120,
    )
    assert answer.status_code == 200
    assert resources_pb2.Archetype.FromString(answer.content).revision == new[0].revision


def test_a_retry_changes_nothing_and_an_id_stands_for_one_file(
    client: Client, new: tuple[Archetype, bytes], old: tuple[Archetype, Path]
) -> None:
    first = (old[1] / "guard.safetensors").read_bytes()
    assert client.archetypes.UploadArchetype(chunks(new[1], current=True, request_id="x")).revision == new[0].revision
    assert client.archetypes.UploadArchetype(chunks(first, current=True)).revision == old[0].revision
    assert client.archetypes.UploadArchetype(chunks(new[1], current=True, request_id="x")).revision == old[0].revision
    assert refused(lambda: client.archetypes.UploadArchetype(chunks(first, request_id="x")))[0] == "REQUEST_ID_REUSED"


def test_clients_that_name_a_version_go_on_beside_a_new_current_one(
    client: Client, server: host.Address, new: tuple[Archetype, bytes], old: tuple[Archetype, Path]
) -> None:
    npc = client.create("guard")
    client.archetypes.UploadArchetype(chunks(new[1], current=True))
    with grpc.insecure_channel(server.grpc) as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelMetadata",
            inference_pb2.ModelMetadataRequest.SerializeToString,
            inference_pb2.ModelMetadataResponse.FromString,
        )
        for revision in (old[0].revision, new[0].revision):
            described = infer(inference_pb2.ModelMetadataRequest(name="guard", version=revision))
            assert described.versions[0] == new[0].revision
            assert set(described.versions) == {old[0].revision, new[0].revision}
    assert list(client.act_once("guard", [npc], observations(1)).revisions) == [1]
