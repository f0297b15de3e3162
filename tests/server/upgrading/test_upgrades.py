"""Upgrades over gRPC: NPCs move while they act, without a wrong frame; those that would be worse stay."""

import time

import numpy as np
import pytest

from npcmeta.archetype import npc_to_bytes, read_npc
from npcmeta_server.gen.npcmeta.v1 import archetypes_pb2, npcs_pb2, upgrades_pb2
from tests.server.client import Stream, adapt_requests, clip, observations
from tests.server.test_uploads import get, refused
from tests.server.upgrading.playing import SPEC, Files, Player, Upgrading, own_moves, teach


def test_everybody_moves_while_they_act_and_no_frame_is_dropped_or_wrong(upgrading: Upgrading, files: Files) -> None:
    client = upgrading.client
    npcs = [client.create("guard", f"npc-{i}") for i in range(100)]
    for i, npc in enumerate(npcs[:40]):
        teach(client, npc, 10 + i)
    with Player(client, npcs) as player:
        expected = {}
        for i, npc in enumerate(npcs):
            revision, moves = own_moves(client, npc, player.seen[i])
            expected[npc, revision] = moves
        revision = upgrading.upload(files.new)
        begun = upgrading.begin(revision, tolerance=100.0)
        assert get(client).revision == revision
        late = client.create("guard", "late")
        done = upgrading.end(begun)
        for i, npc in enumerate(npcs):
            revision_now, moves = own_moves(client, npc, player.seen[i])
            expected[npc, revision_now] = moves
        time.sleep(0.2)
    assert (done.npcs, done.moved, done.kept, done.failed) == (100, 100, 0, 0)
    assert player.frames > 20
    assert set(player.acted) == set(expected)
    for key, found in player.acted.items():
        [move] = found  # always the same, whoever else was moved meanwhile
        np.testing.assert_allclose(np.frombuffer(move, np.float32), expected[key], atol=1e-5)
    assert all(not np.allclose(expected[npc, 3], expected[npc, 2]) for npc in npcs[:40])
    taught, untaught = client.get(npcs[0]), client.get(npcs[99])
    assert (taught.examples, taught.revision, untaught.revision) == (
        10,
        f"{npcs[0]}/revisions/3",
        "npcs/npc-99/revisions/2",
    )
    assert upgrading.revisions(late)[0].archetype_revision == revision
    teach(client, npcs[0], 7)  # demonstrations go on to count
    assert client.get(npcs[0]).examples == 17
    deadline = time.monotonic() + 30  # NPCs are counted anew only now and then
    while (counted := [each.npcs for each in get(client).revisions if each.current]) != [101]:
        assert time.monotonic() < deadline, counted
        time.sleep(0.05)


def test_who_would_be_worse_stays_with_a_reason_and_rolling_back_takes_everybody(
    upgrading: Upgrading, files: Files
) -> None:
    client, old = upgrading.client, files.old.revision
    teach(client, taught := client.create("guard", "taught"), 40, 40)
    untaught = client.create("guard", "untaught")
    teach(client, forgetful := client.create("guard", "forgetful"), 20)
    kept = client.npcs.ListDemonstrations(npcs_pb2.ListDemonstrationsRequest(parent=forgetful)).demonstrations
    client.npcs.DeleteDemonstration(npcs_pb2.DeleteDemonstrationRequest(name=kept[0].name))
    worse = upgrading.upload(files.worse)
    done = upgrading.end(begun := upgrading.begin(worse, request_id="friday"))
    assert (done.npcs, done.moved, done.kept, done.failed) == (3, 1, 2, 0)
    told = upgrading.told(done)
    assert set(told) == {taught, forgetful}
    assert "it would be worse" in told[taught].reason
    assert told[taught].nll_after > told[taught].nll_before + 0.05
    assert "of which 0 are left" in told[forgetful].reason
    assert [upgrading.revisions(npc)[0].archetype_revision for npc in (taught, untaught)] == [old, worse]
    assert upgrading.begin(worse, request_id="friday").name == begun.name
    moved = upgrading.end(upgrading.begin(worse, npcs=[taught], unchecked=True))
    assert (moved.npcs, moved.moved) == (1, 1)
    back = upgrading.end(upgrading.begin(old, unchecked=True))
    assert (back.moved, back.kept) == (2, 0)
    assert {upgrading.revisions(npc)[0].archetype_revision for npc in (taught, untaught, forgetful)} == {old}
    assert get(client).revision == old
    before, after = (
        each.support_nll for each in upgrading.revisions(taught) if each.archetype_revision == old and each.examples
    )
    assert after == pytest.approx(before, abs=1e-5)
    retired = archetypes_pb2.RetireArchetypeRequest(name="archetypes/guard", revision=worse)
    client.archetypes.RetireArchetype(retired)
    assert [each.active for each in get(client).revisions] == [True, False]
    again = f"{untaught}/revisions/2"  # which the other revision made: it is loaded for that
    assert client.npcs.RollbackNpc(npcs_pb2.RollbackNpcRequest(name=untaught, revision=again)).revision == again
    assert list(client.act_once("guard", [untaught, taught], observations(2)).revisions) == [2, 4]
    assert [each.active for each in get(client).revisions] == [True, True]
    listed = upgrading.stub.ListUpgrades(upgrades_pb2.ListUpgradesRequest(parent="archetypes/guard", page_size=2))
    assert [each.name for each in listed.upgrades] == [back.name, moved.name]


def test_one_upgrade_at_a_time_can_be_cancelled_and_asks_for_what_there_is(upgrading: Upgrading, files: Files) -> None:
    client = upgrading.client
    for i in range(60):
        client.create("guard", f"npc-{i}")
    revision = upgrading.upload(files.new)
    begun = upgrading.begin(revision)
    assert refused(lambda: upgrading.begin(files.old.revision))[0] == "UPGRADE_IN_PROGRESS"
    cancelled = upgrading.stub.CancelUpgrade(upgrades_pb2.CancelUpgradeRequest(name=begun.name))
    assert cancelled.state == upgrades_pb2.UPGRADE_CANCELLED
    assert cancelled.end_time.seconds
    time.sleep(1)
    moved = upgrading.get(begun).moved
    time.sleep(1)
    assert upgrading.get(begun).moved == moved < 60
    assert refused(lambda: upgrading.begin("no such revision"))[0] == "ARCHETYPE_NOT_FOUND"
    assert refused(lambda: upgrading.begin(revision, tolerance=-1.0))[0] == "INVALID_ARGUMENT"
    assert refused(lambda: upgrading.begin(revision, npcs=["bob"]))[0] == "INVALID_NAME"
    lost = upgrades_pb2.Upgrade(name="archetypes/guard/upgrades/x")
    assert refused(lambda: upgrading.get(lost))[0] == "UPGRADE_NOT_FOUND"
    assert upgrading.end(upgrading.begin(revision, npcs=["npcs/nobody", "npcs/npc-7"])).failed == 0


def test_whoever_is_being_adapted_is_left_alone_until_that_has_ended(upgrading: Upgrading, files: Files) -> None:
    client = upgrading.client
    npc, revision = client.create("guard", "amy"), upgrading.upload(files.new)
    setup, shown, commit = adapt_requests(npc, clip(SPEC, 20))
    lesson = Stream(client.adapting.Adapt)
    assert lesson.ask(setup).WhichOneof("response") == "started"
    begun = upgrading.begin(revision, tolerance=100.0)
    time.sleep(1)
    for request in (shown, commit):
        lesson.send(request)
    committed = [each for each in lesson.call if each.WhichOneof("response") == "committed"]
    assert committed[0].committed.revision.archetype_revision == files.old.revision
    done = upgrading.end(begun)
    assert (done.moved, done.failed) == (1, 0)
    newest = upgrading.revisions(npc)[0]
    assert (newest.archetype_revision, newest.examples) == (revision, 20)


def test_a_file_of_a_revision_that_is_kept_and_not_loaded_is_taken_as_it_is(upgrading: Upgrading, files: Files) -> None:
    client, old = upgrading.client, files.old.revision
    teach(client, amy := client.create("guard", "amy"), 20)
    file = client.fetch(f"{amy}/assets/npc")[1]
    state = npc_to_bytes(read_npc(file, source="amy")._replace(demonstrations=()))
    upgrading.end(upgrading.begin(upgrading.upload(files.new), unchecked=True))
    client.archetypes.RetireArchetype(archetypes_pb2.RetireArchetypeRequest(name="archetypes/guard", revision=old))
    seen = observations(1)
    for name, data in (("bare", state), ("whole", file)):
        made = client.npcs.ImportNpc(npcs_pb2.ImportNpcRequest(npc_id=name, file=data))
        assert (made.examples, upgrading.revisions(made.name)[0].archetype_revision) == (20, old)
        assert client.npcs.RollbackNpc(npcs_pb2.RollbackNpcRequest(name=amy, revision=f"{amy}/revisions/2")).examples
        moves = [client.act_once("guard", [npc], seen).continuous_actions.data for npc in (amy, made.name)]
        assert moves[0] == moves[1]
    unknown = npc_to_bytes(read_npc(state, source="amy")._replace(archetype_revision="f" * 64))
    reason, message = refused(lambda: client.npcs.ImportNpc(npcs_pb2.ImportNpcRequest(npc_id="late", file=unknown)))
    assert (reason, "upload that revision" in message) == ("REVISION_UNAVAILABLE", True)
