"""Acting over gRPC: casts that change, parts that fail alone, states swapped between frames."""

import re

import grpc
import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load

from npcmeta.archetype import Archetype
from npcmeta_server import tensors
from npcmeta_server.demo.host import Address
from npcmeta_server.gen.npcmeta.v1 import act_pb2, npcs_pb2, tensor_pb2
from tests.server.client import (
    Client,
    Stream,
    array,
    cast,
    clip,
    group,
    info_of,
    observations,
    part,
    refusal,
    tick,
)


def test_two_archetypes_act_in_one_stream_while_the_cast_changes(client: Client) -> None:
    guards, scouts = ([client.create(kind) for _ in range(3)] for kind in ("guard", "scout"))
    stream = Stream(client.acting.Act)
    answer = stream.ask(cast(group(0, "guard", {0: guards[0], 5: guards[1]}), group(7, "scout", {1: scouts[0]})))
    assert [(result.group, list(result.indices)) for result in answer.cast.groups] == [(0, [0, 5]), (7, [1])]
    seen = observations(3)
    frame = stream.ask(tick(41, part(7, [1], seen[:1]), part(0, [5, 0], seen[1:]))).tick
    assert frame.number == 41
    assert [(p.group, list(p.indices), list(p.revisions)) for p in frame.parts] == [(7, [1], [1]), (0, [5, 0], [1, 1])]
    assert not frame.parts[0].HasField("continuous_actions")
    assert array(frame.parts[0].discrete_actions).shape == (1, 2)
    assert array(frame.parts[1].continuous_actions).shape == (2, 2)

    removal = act_pb2.Removal(group=0, indices=[5])
    changed = stream.ask(cast(group(0, "", {9: guards[2]}), group(8, "scout", {0: scouts[1]}), removals=[removal]))
    assert [list(result.indices) for result in changed.cast.groups] == [[0], [0, 9], [0]]
    frame = stream.ask(tick(42, part(0, [5], seen[:1]), part(0, [9], seen[:1]), part(8, [0], seen[:1]))).tick
    assert info_of(frame.parts[0].status).reason == "NOT_IN_CAST"
    assert [len(p.revisions) for p in frame.parts] == [0, 1, 1]
    stream.ask(cast(removals=[act_pb2.Removal(group=8)]))
    frame = stream.ask(tick(43, part(8, [0], seen[:1]), part(7, [1], seen[:1]))).tick
    assert info_of(frame.parts[0].status).reason == "GROUP_NOT_FOUND"
    assert list(frame.parts[1].revisions) == [1]
    stream.close()


def test_a_frame_of_many_different_npcs_is_each_of_them_alone(client: Client, archetypes: dict[str, Archetype]) -> None:
    npcs = [client.create("guard") for _ in range(6)]
    for seed, npc in enumerate(npcs[:4]):
        client.adapt(npc, clip(archetypes["guard"].spec, 10 + seed, seed))
    seen = observations(6, 5)
    together = client.act_once("guard", npcs, seen)
    alone = [client.act_once("guard", [npc], seen[i : i + 1]) for i, npc in enumerate(npcs)]
    expected = np.concatenate([array(answer.continuous_actions) for answer in alone])
    np.testing.assert_allclose(array(together.continuous_actions), expected, atol=1e-6)
    assert list(together.revisions) == [2, 2, 2, 2, 1, 1]
    assert len(np.unique(expected[:4, 0])) == 4


def test_a_commit_reaches_a_stream_that_is_acting(client: Client, archetypes: dict[str, Archetype]) -> None:
    npc = client.create("painter")
    stream = Stream(client.acting.Act)
    stream.ask(cast(group(0, "painter", {0: npc})))
    seen = observations(1)
    before = stream.ask(tick(1, part(0, [0], seen))).tick.parts[0]
    client.adapt(npc, clip(archetypes["painter"].spec))
    after = stream.ask(tick(2, part(0, [0], seen))).tick.parts[0]
    assert (list(before.revisions), list(after.revisions)) == ([1], [2])
    assert not np.array_equal(array(before.continuous_actions), array(after.continuous_actions))
    stream.close()


def test_assets_run_anywhere_and_act_as_the_server_does(client: Client, archetypes: dict[str, Archetype]) -> None:
    npc = client.create("guard")
    client.adapt(npc, clip(archetypes["guard"].spec))
    seen = observations(9, 2)
    served = client.act_once("guard", [npc] * 9, seen)
    mask, noise = np.ones((9, 5), bool), np.zeros((9, 7), np.float32)
    feeds = {"observation": seen, "action_mask": mask, "noise": noise}
    header, own = client.fetch(f"{npc}/assets/ort")
    assert (header.npc_revision, header.size_bytes) == (2, len(own))
    policy, state = client.fetch("archetypes/guard/assets/policy")[1], load(client.fetch(f"{npc}/assets/state")[1])
    rows = {key: np.repeat(value, 9, 0) for key, value in state.items()}
    for model, more in ((own, {}), (policy, rows)):
        found = onnxruntime.InferenceSession(model).run(["continuous_actions", "discrete_actions"], feeds | more)
        np.testing.assert_allclose(found[0], array(served.continuous_actions), atol=1e-5)
        np.testing.assert_array_equal(found[1], array(served.discrete_actions))


def test_sampled_actions_differ_between_npcs_and_ticks_and_repeat_for_the_same(client: Client) -> None:
    npcs = [client.create("guard", seed=seed) for seed in (1, 2)]
    assert client.get(client.create("guard")).seed != 0
    seen = np.repeat(observations(1), 2, 0)

    def ask(number: int) -> np.ndarray:
        return array(client.act_once("guard", npcs, seen, sampled=True, number=number).continuous_actions)

    assert not np.array_equal(ask(1)[0], ask(1)[1])
    assert not np.array_equal(ask(1), ask(2))
    np.testing.assert_array_equal(ask(1), ask(1))


def test_masks_hold(client: Client) -> None:
    npc = client.create("scout")
    for allowed in range(3):
        mask = np.zeros((20, 5), np.uint8)
        mask[:, allowed] = mask[:, 3:] = 1
        message = tensor_pb2.Tensor(data_type=tensor_pb2.BOOL, shape=mask.shape, data=mask.tobytes())
        answer = client.act_once("scout", [npc] * 20, observations(20), action_mask=message, sampled=True, number=3)
        assert (array(answer.discrete_actions)[:, 0] == allowed).all()


def test_members_are_refused_alone(client: Client) -> None:
    guard, scout = client.create("guard"), client.create("scout")
    stream = Stream(client.acting.Act)
    members = {0: guard, 1: scout, 2: "npcs/nobody", 3: "npcs/../x"}
    [result] = stream.ask(cast(group(0, "guard", members))).cast.groups
    assert list(result.indices) == [0]
    reasons = {entry.index: info_of(entry.status).reason for entry in result.refused}
    assert reasons == {1: "WRONG_ARCHETYPE", 2: "NPC_NOT_FOUND", 3: "INVALID_NAME"}
    [unknown] = stream.ask(cast(group(1, "knight", {0: guard}))).cast.groups
    assert info_of(unknown.status).reason == "ARCHETYPE_NOT_FOUND"
    assert list(stream.ask(tick(1, part(0, [0], observations(1)))).tick.parts[0].revisions) == [1]
    stream.close()


def test_a_deleted_npc_leaves_the_others_of_its_group_acting(client: Client) -> None:
    gone, kept = client.create("guard"), client.create("guard")
    stream = Stream(client.acting.Act)
    stream.ask(cast(group(0, "guard", {0: gone, 1: kept})))
    client.npcs.DeleteNpc(npcs_pb2.DeleteNpcRequest(name=gone))
    frame = stream.ask(tick(1, part(0, [0], observations(1)), part(0, [1], observations(1)))).tick
    assert info_of(frame.parts[0].status).reason == "NPC_NOT_FOUND"
    assert list(frame.parts[1].revisions) == [1]
    stream.close()


NAN = np.full((1, 3), np.nan, np.float32)
WRONG = {
    "have 31 values in a row": tensors.write(np.zeros((1, 31), np.float32)),
    "holds NaN or infinity in row 0": tensors.write(NAN),
    "have 2 rows, expected 1": tensors.write(observations(2)),
    "holds 8 bytes, expected 12": tensor_pb2.Tensor(data_type=tensor_pb2.FLOAT32, shape=[1, 3], data=bytes(8)),
    "is no known type": tensor_pb2.Tensor(shape=[1, 3], data=bytes(12)),
    r"is FLOAT32 \[-1, 3\]": tensor_pb2.Tensor(data_type=tensor_pb2.FLOAT32, shape=[-1, 3]),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_bad_part_fails_alone_and_says_why(client: Client, message: str) -> None:
    bob, eve = client.create("guard"), client.create("guard")
    stream = Stream(client.acting.Act)
    stream.ask(cast(group(0, "guard", {0: bob, 1: eve})))
    bad = act_pb2.Part(group=0, indices=[0], observations=WRONG[message])
    for number in (1, 2):
        frame = stream.ask(tick(number, bad, part(0, [1], observations(1)))).tick
        assert info_of(frame.parts[0].status).reason == "INVALID_TENSOR"
        assert frame.parts[0].status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert re.search(message, frame.parts[0].status.message)
        assert list(frame.parts[1].revisions) == [1]
    stream.close()


def test_a_tick_that_is_too_large_is_refused_and_the_stream_lives_on(client: Client) -> None:
    npc = client.create("guard")
    stream = Stream(client.acting.Act)
    stream.ask(cast(group(0, "guard", {0: npc})))
    many = part(0, [0] * 20_001, observations(1))
    answer = stream.ask(tick(5, many)).tick
    assert (answer.number, info_of(answer.parts[0].status).reason) == (5, "TOO_MANY")
    answer = stream.ask(tick(6, *[part(0, [0], observations(1))] * 1025)).tick
    assert {info_of(entry.status).reason for entry in answer.parts} == {"TOO_MANY"}
    assert list(stream.ask(tick(7, part(0, [0], observations(1)))).tick.parts[0].revisions) == [1]
    stream.close()
    with pytest.raises(grpc.RpcError) as caught:
        client.act_once("guard", [npc] * 20_001, observations(1))
    assert refusal(caught.value)[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY")


@pytest.mark.parametrize("method", ["NpcService/GetNpc", "ActService/Act", "AdaptService/AdaptOnce"])
def test_bytes_that_are_no_message_get_an_error_of_ours(server: Address, method: str) -> None:
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.stream_stream(f"/npcmeta.v1.{method}")(iter([b"\x0a\xff\xff\x00\x01"]))
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
    assert refusal(caught.value)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")


@pytest.mark.parametrize("method", ["npcmeta.v1.NpcService/NoSuchMethod", "elsewhere.Service/Method"])
def test_what_no_service_has_gets_an_error_of_ours(server: Address, method: str) -> None:
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"/{method}")(b"")
    code, reason, message = refusal(caught.value)
    assert (code, reason) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_NOT_FOUND")
    assert method in message


def test_an_empty_request_ends_the_stream_with_an_error(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        Stream(client.acting.Act).ask(act_pb2.ActRequest())
    code, reason, _ = refusal(caught.value)
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_STREAM")


def test_a_client_that_vanishes_leaves_the_others_alone(client: Client, server: object) -> None:
    npc = client.create("guard")
    for _ in range(20):
        stream = Stream(client.acting.Act)
        stream.ask(cast(group(0, "guard", {0: npc})))
        stream.send(tick(1, part(0, [0], observations(1))))
        stream.call.cancel()
    assert list(client.act_once("guard", [npc], observations(1)).revisions) == [1]
