"""What an Adapt stream takes beside examples over gRPC and Connect: feedback that counts more, and a discard."""

import base64
import json
import struct
import time

import grpc
import httpx
import numpy as np
import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from npcmeta.archetype import Archetype
from npcmeta_server import clips, tensors
from npcmeta_server.demo.host import Address
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import adapt_pb2, npcs_pb2, tensor_pb2
from npcmeta_server.limits import MAX_WEIGHT
from tests import toys
from tests.server.client import Client, Stream, adapt_requests, clip, refusal
from tests.server.test_hostile import outcome
from tests.server.test_http import frames

SPEC = toys.spec("mixed")


def feedback(examples: tensor_pb2.Examples, weight: float) -> adapt_pb2.AdaptRequest:
    return adapt_pb2.AdaptRequest(feedback=adapt_pb2.Feedback(examples=examples, weight=weight))


def weighing(examples: tensor_pb2.Examples, *weights: float) -> tensor_pb2.Examples:
    weighed = tensor_pb2.Examples()
    weighed.CopyFrom(examples)
    weighed.weights.CopyFrom(tensors.write(np.array(weights, np.float32)))
    return weighed


def corrected(examples: tensor_pb2.Examples) -> tensor_pb2.Examples:
    """Other decisions in the same situations."""
    other = tensor_pb2.Examples()
    other.CopyFrom(examples)
    rows = examples.observations.shape[0]
    other.discrete_actions.CopyFrom(tensors.write(np.zeros((rows, 2), np.int64)))
    other.continuous_actions.CopyFrom(tensors.write(np.full((rows, 2), -0.7, np.float32)))
    return other


def state(client: Client, npc: str) -> bytes:
    return client.fetch(f"{npc}/assets/state")[1]


@pytest.mark.parametrize("archetype", ["guard", "warden"])
def test_feedback_counts_as_often_as_its_weight_says_now_and_later(
    archetype: str, client: Client, archetypes: dict[str, Archetype]
) -> None:
    shown, later = clip(archetypes[archetype].spec, 3), clip(archetypes[archetype].spec, 2, 8)
    told, weighed, once = (client.create(archetype, seed=4) for _ in range(3))
    setup, first, commit = adapt_requests(told, shown)
    requests = [setup, first, feedback(weighing(corrected(shown), 1, 2, 0.5), 4.0), commit]
    *_, last = client.adapting.Adapt(iter(requests))
    assert last.committed.revision.examples == 6
    assert len(last.committed.demonstrations) == 2
    client.adapt(weighed, shown, weighing(corrected(shown), 4, 8, 2))
    client.adapt(once, shown, corrected(shown))
    assert state(client, told) == state(client, weighed)
    assert state(client, told) != state(client, once)
    for npc in (told, weighed):
        client.adapt(npc, later)
    assert state(client, told) == state(client, weighed)


def test_feedback_in_one_request_over_json_is_what_it_is_in_a_stream(
    server: Address, client: Client, archetypes: dict[str, Archetype]
) -> None:
    shown = clip(archetypes["guard"].spec, 3)
    one, other = client.create("guard"), client.create("guard")
    setup, *_, commit = adapt_requests(one)
    list(client.adapting.Adapt(iter([setup, feedback(shown, 2.5), commit])))

    def tensor(message: tensor_pb2.Tensor) -> dict[str, object]:
        kind = tensor_pb2.DataType.Name(message.data_type)
        return {
            "dataType": kind, "shape": list(message.shape), "data": base64.b64encode(message.data).decode()
        }  # fmt: skip

    examples = {
        "observations": tensor(shown.observations),
        "continuousActions": tensor(shown.continuous_actions),
        "discreteActions": tensor(shown.discrete_actions),
    }
    body = json.dumps({"setup": {"npc": other}, "feedback": [{"examples": examples, "weight": 2.5}]}).encode()
    answer = httpx.post(
        f"{server.http}/npcmeta.v1.AdaptService/AdaptOnce",
        content=b"\0" + struct.pack(">I", len(body)) + body,
        headers={"content-type": "application/connect+json"},
        timeout=20,
    )
    events = [json.loads(message) for flag, message in frames(answer.content) if not flag & 2]
    assert next(iter(events[-1])) == "committed"
    assert state(client, one) == state(client, other)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf"), 1e7])
def test_a_weight_that_says_nothing_or_too_much_is_refused_and_changes_nothing(
    client: Client, archetypes: dict[str, Archetype], weight: float
) -> None:
    npc = client.create("guard")
    setup, _, commit = adapt_requests(npc, clip(archetypes["guard"].spec, 3))
    with pytest.raises(grpc.RpcError, match="weight of the feedback") as caught:
        list(client.adapting.Adapt(iter([setup, feedback(clip(archetypes["guard"].spec, 3), weight), commit])))
    assert refusal(caught.value)[1] == "INVALID_ARGUMENT"
    assert client.get(npc).examples == 0


FLOATS = st.floats(0, MAX_WEIGHT, width=32)


@given(st.lists(FLOATS, min_size=1, max_size=5).filter(any), st.floats(width=32))
def test_feedback_of_any_weight_is_a_clip_that_can_be_stored_or_is_refused(own: list[float], weight: float) -> None:
    read = clips.read(weighing(clip(SPEC, len(own)), *own), SPEC, "guard")
    made = outcome(lambda: clips.weighted(read, weight))
    if isinstance(made, ServiceError):
        assert made.reason == "INVALID_ARGUMENT"
        return
    np.testing.assert_array_equal(made.weights, read.weights * np.float32(weight))
    assert np.isfinite(made.weights).all()
    assert made.weights.any()
    assert (made.weights <= MAX_WEIGHT).all()
    again = clips.from_bytes(clips.to_bytes(made), SPEC)
    np.testing.assert_array_equal(again.weights, made.weights)
    assert clips.read(weighing(clip(SPEC, len(own)), *made.weights.tolist()), SPEC, "guard").examples == len(own)


def test_a_discarded_stream_is_answered_and_leaves_nothing(client: Client, archetypes: dict[str, Archetype]) -> None:
    npc, shown = client.create("guard"), clip(archetypes["guard"].spec, 40)
    before = client.get(npc)
    for _ in range(5):
        stream = Stream(client.adapting.Adapt)
        for request in adapt_requests(npc, shown)[:-1]:
            stream.send(request)
        stream.send(adapt_pb2.AdaptRequest(discard=adapt_pb2.Discard()))
        last = list(stream.call)[-1]
        assert last.discarded.npc == npc
    assert client.get(npc) == before
    assert not client.npcs.ListDemonstrations(npcs_pb2.ListDemonstrationsRequest(parent=npc)).demonstrations
    assert client.adapt(npc, shown)[-1].committed.revision.number == 2


def test_a_discarded_request_id_may_be_used_again(client: Client, archetypes: dict[str, Archetype]) -> None:
    npc, shown = client.create("guard"), clip(archetypes["guard"].spec, 4)
    requests = [*adapt_requests(npc, shown, request_id=f"{npc}-lesson")[:-1], adapt_pb2.AdaptRequest()]
    requests[-1].discard.SetInParent()
    assert list(client.adapting.Adapt(iter(requests)))[-1].HasField("discarded")
    assert client.adapt(npc, shown, request_id=f"{npc}-lesson")[-1].committed.revision.examples == 4


def test_a_commit_waits_no_longer_than_its_time_budget(client: Client, archetypes: dict[str, Archetype]) -> None:
    npc, spec = client.create("scout"), archetypes["scout"].spec
    setup, large, commit = adapt_requests(npc, clip(spec, 15_000))
    setup.setup.time_budget.FromMilliseconds(0)
    with pytest.raises(grpc.RpcError, match="ended within the time budget") as caught:
        list(client.adapting.Adapt(iter([setup, large, commit])))
    assert refusal(caught.value)[:2] == (grpc.StatusCode.DEADLINE_EXCEEDED, "TIME_BUDGET_EXCEEDED")
    assert client.get(npc).examples == 0
    stream = Stream(client.adapting.Adapt)
    stream.ask(setup)
    first = clip(spec, 5)
    stream.send(adapt_pb2.AdaptRequest(examples=first))
    while next(stream.call).progress.step != 5:
        pass
    time.sleep(1)  # the result is a message behind its last step
    stream.send(large)
    stream.send(commit)
    done = list(stream.call)[-1].committed
    assert (done.revision.examples, len(done.demonstrations)) == (5, 2)
    assert list(done.left_out) == [done.demonstrations[1]]
    requests = [*adapt_requests(npc)[:1], adapt_pb2.AdaptRequest(demonstration=done.left_out[0]), commit]
    last = list(client.adapting.Adapt(iter(requests)))[-1].committed
    assert (last.revision.examples, list(last.left_out)) == (15_005, [])


def test_a_time_budget_that_is_enough_changes_nothing(client: Client, archetypes: dict[str, Archetype]) -> None:
    npc, shown = client.create("scout"), clip(archetypes["scout"].spec, 5)
    done = client.adapt(npc, shown, time_budget=Duration(seconds=30), request_id=f"{npc}-timed")[-1].committed
    assert (done.revision.examples, list(done.left_out)) == (5, [])
    assert client.adapt(npc, shown, request_id=f"{npc}-timed")[-1].committed == done


@pytest.mark.parametrize("seconds", [-1, 3601, 1 << 40])
def test_a_time_budget_out_of_range_is_refused(client: Client, seconds: int) -> None:
    with pytest.raises(grpc.RpcError, match="expected 0 to 3600") as caught:
        client.adapt(client.create("guard"), time_budget=Duration(seconds=seconds))
    assert refusal(caught.value)[1] == "INVALID_ARGUMENT"
