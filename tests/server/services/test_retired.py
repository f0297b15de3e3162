"""An archetype that was retired and comes again, while games still have its deleted NPCs in their casts."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import code_pb2

from npcmeta_server.gen.npcmeta.v1 import act_pb2, npcs_pb2
from npcmeta_server.serving import Settings
from tests.server import conftest
from tests.server.client import Client, Stream, cast, group, info_of, observations, part, tick
from tests.server.in_thread import served
from tests.server.test_uploads import chunks, get, refused, retire


@contextlib.contextmanager
def serving(archetypes: Path, folder: Path) -> Iterator[Client]:
    settings = Settings(archetypes, f"sqlite:///{folder / 'npcs.db'}", "127.0.0.1", 0, 0)
    with served(settings) as server, grpc.insecure_channel(server.grpc) as channel:
        yield Client(channel)


@pytest.fixture
def client(archetype_folder: Path, tmp_path: Path) -> Iterator[Client]:
    with serving(archetype_folder, tmp_path) as made:
        yield made


def other_actions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The file of a guard that decides otherwise than the one that is served."""
    monkeypatch.setitem(conftest.ARCHETYPES, "guard", ("cnp", "continuous"))
    conftest.save("guard", folder)
    return (folder / "guard.safetensors").read_bytes()


def delete(client: Client, npc: str) -> None:
    client.npcs.DeleteNpc(npcs_pb2.DeleteNpcRequest(name=npc))


def test_one_with_other_actions_waits_until_no_cast_has_npcs_of_the_old_one(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    game, amy = Stream(client.acting.Act), client.create("guard", "amy")
    game.ask(cast(group(0, "guard", {0: amy})))
    delete(client, amy)
    retire(client, "guard")
    data = other_actions(tmp_path, monkeypatch)
    reason, message = refused(lambda: client.archetypes.UploadArchetype(chunks(data)))
    assert (reason, "casts" in message) == ("SPEC_MISMATCH", True)
    [gone] = game.ask(tick(1, part(0, [0], observations(1)))).tick.parts
    assert (gone.status.code, info_of(gone.status).reason) == (code_pb2.NOT_FOUND, "NPC_NOT_FOUND")
    game.ask(cast(removals=[act_pb2.Removal(group=0, indices=[0])]))
    client.archetypes.UploadArchetype(chunks(data))
    [seated] = game.ask(cast(group(0, "", {1: client.create("guard", "bob")}))).cast.groups
    assert list(seated.indices) == [1]
    [decided] = game.ask(tick(2, part(0, [1], observations(1)))).tick.parts
    assert (list(decided.revisions), decided.HasField("discrete_actions")) == ([1], False)
    game.close()


def test_one_that_had_to_wait_leaves_the_archetype_as_retired_as_it_was(
    archetype_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(archetype_folder, tmp_path) as client:
        game, amy = Stream(client.acting.Act), client.create("guard", "amy")
        game.ask(cast(group(0, "guard", {0: amy})))
        delete(client, amy)
        retire(client, "guard")
        data = other_actions(tmp_path, monkeypatch)
        assert refused(lambda: client.archetypes.UploadArchetype(chunks(data)))[0] == "SPEC_MISMATCH"
        game.close()
    with serving(archetype_folder, tmp_path) as client:
        assert refused(lambda: get(client))[0] == "ARCHETYPE_NOT_FOUND"


def test_one_with_the_same_actions_comes_at_once(client: Client, archetype_folder: Path) -> None:
    game, amy = Stream(client.acting.Act), client.create("guard", "amy")
    game.ask(cast(group(0, "guard", {0: amy})))
    delete(client, amy)
    retire(client, "guard")
    client.archetypes.UploadArchetype(chunks((archetype_folder / "guard.safetensors").read_bytes()))
    bob = client.create("guard", "bob")
    [seated] = game.ask(cast(group(0, "guard", {1: bob}))).cast.groups
    assert list(seated.indices) == [0, 1]
    [decided] = game.ask(tick(1, part(0, [1], observations(1)))).tick.parts
    assert list(decided.revisions) == [1]
    game.close()
