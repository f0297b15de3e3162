"""Changing NPCs over gRPC: new names, kept revisions that act again, retries; nothing is changed by halves."""

from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given
from hypothesis import strategies as st

from npcmeta.archetype import Archetype
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import npcs_pb2, resources_pb2
from npcmeta_server.services.npcs import check_mask
from npcmeta_server.serving import Settings
from tests.server.client import Client, Stream, adapt_requests, array, cast, clip, group, observations, part, refusal
from tests.server.client import tick as tick_of
from tests.server.in_thread import served
from tests.server.test_hostile import outcome


def roll_back(client: Client, npc: str, number: int, **more: str) -> resources_pb2.Npc:
    wanted = npcs_pb2.RollbackNpcRequest(name=npc, revision=f"{npc}/revisions/{number}", **more)
    return client.npcs.RollbackNpc(wanted)


def rename(client: Client, npc: str, display_name: str, *paths: str, **more: str) -> resources_pb2.Npc:
    changed = resources_pb2.Npc(name=npc, display_name=display_name, seed=77)
    wanted = npcs_pb2.UpdateNpcRequest(npc=changed, update_mask=FieldMask(paths=paths), **more)
    return client.npcs.UpdateNpc(wanted)


def taught(client: Client, archetypes: dict[str, Archetype], *rows: int) -> str:
    """An NPC with a revision for each number of examples, beside its first."""
    npc = client.create("guard")
    for seed, count in enumerate(rows):
        client.adapt(npc, clip(archetypes["guard"].spec, count, seed))
    return npc


def decided(client: Client, npc: str) -> tuple[int, bytes]:
    answer = client.act_once("guard", [npc], observations(1))
    return answer.revisions[0], array(answer.continuous_actions).tobytes()


def test_a_revision_is_found_by_its_name(client: Client, archetypes: dict[str, Archetype]) -> None:
    npc = taught(client, archetypes, 5)
    found = client.npcs.GetRevision(npcs_pb2.GetRevisionRequest(name=f"{npc}/revisions/2"))
    assert found == client.npcs.ListRevisions(npcs_pb2.ListRevisionsRequest(parent=npc)).revisions[0]
    assert (found.number, found.examples) == (2, 5)
    for name, reason in ((f"{npc}/revisions/3", "REVISION_NOT_FOUND"), (f"{npc}/revisions/02", "INVALID_NAME")):
        with pytest.raises(grpc.RpcError) as caught:
            client.npcs.GetRevision(npcs_pb2.GetRevisionRequest(name=name))
        assert refusal(caught.value)[1] == reason


def test_a_kept_revision_acts_again_as_it_did(client: Client, archetypes: dict[str, Archetype]) -> None:
    npc = client.create("guard")
    seen = [decided(client, npc)]
    for seed in range(2):
        client.adapt(npc, clip(archetypes["guard"].spec, 5, seed))
        seen.append(decided(client, npc))
    for number in (1, 2, 3, 2):
        row = roll_back(client, npc, number)
        assert (row.revision, row.examples) == (f"{npc}/revisions/{number}", 5 * (number - 1))
        assert row == client.get(npc)
        assert decided(client, npc) == seen[number - 1]
    listed = client.npcs.ListRevisions(npcs_pb2.ListRevisionsRequest(parent=npc)).revisions
    assert [revision.number for revision in listed] == [3, 2, 1]


def test_an_open_stream_acts_with_the_kept_revision_from_the_next_frame_on(
    client: Client, archetypes: dict[str, Archetype]
) -> None:
    npc, seen = taught(client, archetypes, 5), observations(1)
    stream = Stream(client.acting.Act)
    stream.ask(cast(group(0, "guard", {0: npc})))
    for number, revision in enumerate((2, 1, 2)):
        roll_back(client, npc, revision)
        answer = stream.ask(tick_of(number, part(0, [0], seen))).tick.parts[0]
        assert list(answer.revisions) == [revision]
        np.testing.assert_array_equal(
            array(answer.continuous_actions), array(client.act_once("guard", [npc], seen).continuous_actions)
        )
    stream.close()


def test_adapting_goes_on_from_the_revision_that_acts_with_a_number_of_its_own(
    client: Client, archetypes: dict[str, Archetype]
) -> None:
    spec = archetypes["guard"].spec
    npc, straight = taught(client, archetypes, 20, 30), client.create("guard")
    roll_back(client, npc, 2)
    started, *_, last = client.adapt(npc, clip(spec, 7, 9))
    assert started.started.examples == 20
    assert (last.committed.revision.number, last.committed.revision.examples) == (4, 27)
    client.adapt(straight, clip(spec, 20, 0), clip(spec, 7, 9))
    assert client.fetch(f"{npc}/assets/state")[1] == client.fetch(f"{straight}/assets/state")[1]


def test_what_is_asked_of_an_npc_that_is_being_adapted_is_aborted(
    client: Client, archetypes: dict[str, Archetype]
) -> None:
    npc = taught(client, archetypes, 5)
    stream = Stream(client.adapting.Adapt)
    setup, shown, commit = adapt_requests(npc, clip(archetypes["guard"].spec))
    stream.ask(setup)
    for change in (lambda: roll_back(client, npc, 1), lambda: rename(client, npc, "Bob")):
        with pytest.raises(grpc.RpcError) as caught:
            change()
        assert refusal(caught.value)[:2] == (grpc.StatusCode.ABORTED, "ADAPT_IN_PROGRESS")
    stream.send(shown)
    stream.send(commit)
    assert list(stream.call)[-1].committed.revision.number == 3
    assert decided(client, npc)[0] == 3


def test_what_was_changed_meanwhile_is_not_overwritten(client: Client, archetypes: dict[str, Archetype]) -> None:
    npc = taught(client, archetypes, 5)
    old = client.get(npc).etag
    kept = rename(client, npc, "Bob", etag=old)
    for change in (lambda: roll_back(client, npc, 1, etag=old), lambda: rename(client, npc, "Eve", etag=old)):
        with pytest.raises(grpc.RpcError) as caught:
            change()
        assert refusal(caught.value)[1] == "ETAG_MISMATCH"
    assert client.get(npc) == kept
    assert decided(client, npc)[0] == 2


def test_a_retried_rollback_does_not_undo_what_came_behind_it(client: Client, archetypes: dict[str, Archetype]) -> None:
    npc = taught(client, archetypes, 5, 5)
    roll_back(client, npc, 1, request_id=f"{npc}-back")
    client.adapt(npc, clip(archetypes["guard"].spec, 9))
    assert roll_back(client, npc, 1, request_id=f"{npc}-back").revision == f"{npc}/revisions/4"
    assert decided(client, npc)[0] == 4
    with pytest.raises(grpc.RpcError) as caught:
        roll_back(client, npc, 2, request_id=f"{npc}-back")
    assert refusal(caught.value)[1] == "REQUEST_ID_REUSED"


def test_a_revision_of_somebody_else_or_of_nobody_does_not_act(
    client: Client, archetypes: dict[str, Archetype]
) -> None:
    npc, other = taught(client, archetypes, 5), taught(client, archetypes, 5)
    before = client.get(npc)
    refused = {f"{other}/revisions/1": "INVALID_ARGUMENT", f"{npc}/revisions/9": "REVISION_NOT_FOUND"}
    for revision, reason in refused.items():
        with pytest.raises(grpc.RpcError) as caught:
            client.npcs.RollbackNpc(npcs_pb2.RollbackNpcRequest(name=npc, revision=revision))
        assert refusal(caught.value)[1] == reason
    assert client.get(npc) == before


def test_what_was_rolled_back_to_acts_after_a_restart(
    archetype_folder: Path, archetypes: dict[str, Archetype], tmp_path: Path
) -> None:
    settings = Settings(archetype_folder, f"sqlite:///{tmp_path / 'npcs.db'}", "127.0.0.1", 0, 0)
    found = []
    for started in range(2):
        with served(settings) as server, grpc.insecure_channel(server.grpc) as channel:
            client = Client(channel)
            if not started:
                roll_back(client, taught(client, archetypes, 5, 5), 2)
            [npc] = client.npcs.ListNpcs(npcs_pb2.ListNpcsRequest()).npcs
            found.append((npc, decided(client, npc.name)))
    assert found[0] == found[1]
    assert found[1][1][0] == 2


@pytest.mark.parametrize("paths", [(), ("display_name",), ("*",)])
def test_a_new_display_name_changes_nothing_else(client: Client, paths: tuple[str, ...]) -> None:
    npc = client.create("guard", display_name="Bob", seed=5)
    old = client.get(npc)
    new = rename(client, npc, "Eve", *paths)
    assert (new.display_name, new.seed) == ("Eve", 5)
    assert new.etag != old.etag
    assert new == client.get(npc)
    for field in ("display_name", "etag", "update_time"):
        old.ClearField(field)
        new.ClearField(field)
    assert new == old


def test_a_mask_that_names_what_cannot_be_changed_is_refused_and_says_what_can(client: Client) -> None:
    npc = client.create("guard", display_name="Bob")
    for path in ("seed", "archetype", "nonsense", ""):
        with pytest.raises(grpc.RpcError, match="expected display_name") as caught:
            rename(client, npc, "Eve", "display_name", path)
        assert refusal(caught.value)[1] == "INVALID_ARGUMENT"
    assert client.get(npc).display_name == "Bob"


@given(st.lists(st.sampled_from(["display_name", "*", "seed", "name", "display_name.x", ""]) | st.text(), max_size=4))
def test_a_mask_of_any_kind_is_that_of_a_display_name_or_refused(paths: list[str]) -> None:
    found = outcome(lambda: check_mask(FieldMask(paths=paths)))
    if isinstance(found, ServiceError):
        assert found.reason == "INVALID_ARGUMENT"
        assert len(found.message) < 250
        found.status()
    assert isinstance(found, ServiceError) != ({"display_name", "*"} >= set(paths))


def test_a_retried_delete_succeeds_and_spares_who_came_in_its_place(
    client: Client, archetypes: dict[str, Archetype]
) -> None:
    npc = client.create("guard", "twice-gone")
    delete = npcs_pb2.DeleteNpcRequest(name=npc, request_id="gone")
    client.npcs.DeleteNpc(delete)
    client.npcs.DeleteNpc(delete)
    client.create("guard", "twice-gone")
    client.npcs.DeleteNpc(delete)
    assert decided(client, npc)[0] == 1
    stored = client.adapt(npc, clip(archetypes["guard"].spec))[-1].committed.demonstrations[0]
    for _ in range(2):
        client.npcs.DeleteDemonstration(npcs_pb2.DeleteDemonstrationRequest(name=stored, request_id="clip-gone"))
    with pytest.raises(grpc.RpcError) as caught:
        client.npcs.DeleteDemonstration(npcs_pb2.DeleteDemonstrationRequest(name=stored))
    assert refusal(caught.value)[1] == "DEMONSTRATION_NOT_FOUND"
