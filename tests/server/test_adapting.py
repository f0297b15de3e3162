"""Adapting over gRPC: progress, commits, retries, refusals; nothing committed is lost, nothing else is kept."""

import threading
import time

import grpc
import numpy as np
import pytest

from npcmeta.archetype import Archetype
from npcmeta_server import tensors
from npcmeta_server.gen.npcmeta.v1 import act_pb2, adapt_pb2, npcs_pb2, tensor_pb2
from tests.server.client import Client, Stream, adapt_requests, array, clip, observations, refusal


def kinds(responses: list[adapt_pb2.AdaptResponse]) -> list[str]:
    return [str(response.WhichOneof("response")) for response in responses]


@pytest.mark.parametrize(("archetype", "steps"), [("guard", 1), ("scout", 5)])
def test_adapting_shows_its_progress_and_commits(
    archetype: str, steps: int, client: Client, archetypes: dict[str, Archetype]
) -> None:
    npc = client.create(archetype)
    responses = client.adapt(npc, clip(archetypes[archetype].spec))
    assert kinds(responses)[:2] == ["started", "accepted"]
    assert kinds(responses)[-1] == "committed"
    progress = [response.progress for response in responses if response.HasField("progress")]
    assert {(event.steps, event.examples) for event in progress} == {(steps, 50)}
    told = [event.step for event in progress]
    assert (told[0], told[-1], told) == (0, steps, sorted(set(told)))
    assert progress[-1].support_nll < progress[0].support_nll
    revision = responses[-1].committed.revision
    assert (revision.number, revision.examples) == (2, 50)
    assert revision.support_nll == pytest.approx(progress[-1].support_nll)
    assert revision.archetype_revision == archetypes[archetype].revision
    assert client.get(npc).revision == f"{npc}/revisions/2"
    [stored] = client.npcs.ListDemonstrations(npcs_pb2.ListDemonstrationsRequest(parent=npc)).demonstrations
    assert [stored.name] == list(responses[-1].committed.demonstrations)


def test_progress_comes_while_the_stream_is_open_and_nothing_is_visible_before_the_commit(
    client: Client, archetypes: dict[str, Archetype]
) -> None:
    npc = client.create("painter")
    before = array(client.act_once("painter", [npc], observations(1)).continuous_actions)
    stream = Stream(client.adapting.Adapt)
    setup, shown, commit = adapt_requests(npc, clip(archetypes["painter"].spec))
    assert kinds([stream.ask(setup), stream.ask(shown)]) == ["started", "accepted"]
    assert kinds([next(stream.call), next(stream.call)]) == ["progress", "progress"]
    np.testing.assert_array_equal(array(client.act_once("painter", [npc], observations(1)).continuous_actions), before)
    assert kinds([stream.ask(commit)]) == ["committed"]
    assert not np.array_equal(array(client.act_once("painter", [npc], observations(1)).continuous_actions), before)
    assert list(stream.call) == []


def test_new_examples_come_on_top_of_the_old_ones_unless_from_scratch(
    client: Client, archetypes: dict[str, Archetype]
) -> None:
    first, second = (clip(archetypes["scout"].spec, rows, rows) for rows in (20, 30))
    twice, once, afresh = client.create("scout"), client.create("scout"), client.create("scout")
    client.adapt(twice, first)
    responses = client.adapt(twice, second)
    assert (responses[0].started.examples, responses[1].accepted.total_examples) == (20, 50)
    client.adapt(once, first, second)
    client.adapt(afresh, first)
    client.adapt(afresh, second, from_scratch=True)
    assert [client.get(npc).examples for npc in (twice, once, afresh)] == [50, 50, 30]
    one, other, last = (client.fetch(f"{npc}/assets/state")[1] for npc in (twice, once, afresh))
    assert one == other
    assert last != one


def test_a_stored_demonstration_can_be_named_by_any_npc_of_the_spec(
    client: Client, archetypes: dict[str, Archetype]
) -> None:
    teacher, pupil, stranger = client.create("guard"), client.create("guard"), client.create("painter")
    request = npcs_pb2.CreateDemonstrationRequest(parent=teacher, examples=clip(archetypes["guard"].spec))
    stored = client.npcs.CreateDemonstration(request)
    messages = [
        *adapt_requests(pupil)[:1],
        adapt_pb2.AdaptRequest(demonstration=stored.name),
        *adapt_requests(pupil)[1:],
    ]
    assert list(client.adapting.Adapt(iter(messages)))[-1].committed.revision.examples == 50
    client.adapt(teacher, clip(archetypes["guard"].spec))
    assert client.fetch(f"{teacher}/assets/state")[1] == client.fetch(f"{pupil}/assets/state")[1]
    messages[0] = adapt_requests(stranger)[0]
    with pytest.raises(grpc.RpcError) as caught:
        list(client.adapting.Adapt(iter(messages)))
    assert refusal(caught.value)[1] == "WRONG_ARCHETYPE"


def test_closing_without_a_commit_discards_everything(client: Client, archetypes: dict[str, Archetype]) -> None:
    npc = client.create("guard")
    setup, shown, _ = adapt_requests(npc, clip(archetypes["guard"].spec))
    assert "committed" not in kinds(list(client.adapting.Adapt(iter([setup, shown]))))
    assert (client.get(npc).revision, client.get(npc).examples) == (f"{npc}/revisions/1", 0)
    assert not client.npcs.ListDemonstrations(npcs_pb2.ListDemonstrationsRequest(parent=npc)).demonstrations


def test_a_second_adaptation_of_the_same_npc_is_aborted(client: Client, archetypes: dict[str, Archetype]) -> None:
    npc, other = client.create("guard"), client.create("guard")
    first = Stream(client.adapting.Adapt)
    first.ask(adapt_requests(npc)[0])
    with pytest.raises(grpc.RpcError) as caught:
        client.adapt(npc, clip(archetypes["guard"].spec))
    code, reason, message = refusal(caught.value)
    assert (code, reason) == (grpc.StatusCode.ABORTED, "ADAPT_IN_PROGRESS")
    assert npc in message
    client.adapt(other, clip(archetypes["guard"].spec))
    first.call.cancel()
    adapt_as_soon_as_possible(client, npc, clip(archetypes["guard"].spec))
    assert client.get(npc).examples == 50


def adapt_as_soon_as_possible(client: Client, npc: str, shown: tensor_pb2.Examples) -> None:
    """The server hears of a cancelled stream a moment later."""
    deadline = time.monotonic() + 5
    while True:
        try:
            client.adapt(npc, shown)
            return
        except grpc.RpcError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_a_retry_returns_the_commit_of_the_first_try(client: Client, archetypes: dict[str, Archetype]) -> None:
    npc, other = client.create("guard"), client.create("guard")
    first = client.adapt(npc, clip(archetypes["guard"].spec), request_id="monday")[-1].committed
    again = client.adapt(npc, clip(archetypes["guard"].spec), request_id="monday")[-1].committed
    assert again == first
    assert client.get(npc).examples == 50
    with pytest.raises(grpc.RpcError) as caught:
        client.adapt(other, clip(archetypes["guard"].spec), request_id="monday")
    assert refusal(caught.value)[1] == "REQUEST_ID_REUSED"


def test_a_retry_in_one_request_has_to_say_the_same(client: Client, archetypes: dict[str, Archetype]) -> None:
    npc = client.create("guard")

    def request(rows: int) -> adapt_pb2.AdaptOnceRequest:
        setup = adapt_pb2.AdaptSetup(npc=npc, request_id="tuesday")
        return adapt_pb2.AdaptOnceRequest(setup=setup, examples=[clip(archetypes["guard"].spec, rows)])

    first, again = (list(client.adapting.AdaptOnce(request(5)))[-1].committed for _ in range(2))
    assert first == again
    with pytest.raises(grpc.RpcError) as caught:
        list(client.adapting.AdaptOnce(request(6)))
    assert refusal(caught.value)[1] == "REQUEST_ID_REUSED"
    assert client.get(npc).examples == 5


def test_a_lesson_does_not_reach_another_npc_that_got_the_same_name(
    client: Client, archetypes: dict[str, Archetype]
) -> None:
    npc = client.create("guard", "reborn")
    stream = Stream(client.adapting.Adapt)
    setup, shown, commit = adapt_requests(npc, clip(archetypes["guard"].spec))
    stream.ask(setup)
    stream.ask(shown)
    client.npcs.DeleteNpc(npcs_pb2.DeleteNpcRequest(name=npc))
    assert client.create("painter", "reborn") == npc
    stream.send(commit)
    with pytest.raises(grpc.RpcError) as caught:
        list(stream.call)
    assert refusal(caught.value)[1] == "ETAG_MISMATCH"
    assert list(client.act_once("painter", [npc], observations(1)).revisions) == [1]


def broken(name: str, message: tensor_pb2.Tensor) -> tensor_pb2.Examples:
    examples = tensor_pb2.Examples(
        observations=tensors.write(observations(2)),
        continuous_actions=tensors.write(np.zeros((2, 2), np.float32)),
        discrete_actions=tensors.write(np.zeros((2, 2), np.int64)),
    )
    getattr(examples, name).CopyFrom(message)
    return examples


BROKEN = {
    "observations have 4 values in a row": broken("observations", tensors.write(np.zeros((2, 4), np.float32))),
    "continuous_actions holds NaN": broken("continuous_actions", tensors.write(np.full((2, 2), np.nan, np.float32))),
    r"expected values in \[-1, 1\]": broken("continuous_actions", tensors.write(np.full((2, 2), 1.5, np.float32))),
    r"row 0 is \[3, 0\], expected less than": broken("discrete_actions", tensors.write(np.array([[3, 0], [0, 0]]))),
    "weights row 1 holds -1": broken("weights", tensors.write(np.array([1, -1], np.float32))),
    "forbids the action that was taken": broken(
        "action_mask", tensor_pb2.Tensor(data_type=tensor_pb2.BOOL, shape=[2, 5], data=bytes([0, 1, 1, 1, 1] * 2))
    ),
    "no rows": broken("observations", tensors.write(np.zeros((0, 3), np.float32))),
}


@pytest.mark.parametrize("message", BROKEN)
def test_bad_examples_end_the_stream_with_an_error_and_change_nothing(client: Client, message: str) -> None:
    npc = client.create("guard")
    with pytest.raises(grpc.RpcError, match=message) as caught:
        client.adapt(npc, BROKEN[message])
    assert refusal(caught.value)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_TENSOR")
    assert client.get(npc).revision == f"{npc}/revisions/1"


def test_huge_but_finite_observations_cannot_make_an_npc_that_is_not_finite(client: Client) -> None:
    npc = client.create("scout")
    examples = tensor_pb2.Examples(
        observations=tensors.write(np.full((3, 3), 3e38, np.float32)),
        discrete_actions=tensors.write(np.zeros((3, 2), np.int64)),
    )
    client.adapt(npc, examples)
    assert array(client.act_once("scout", [npc], observations(1)).discrete_actions).shape == (1, 2)


def test_messages_in_a_wrong_order_are_refused(client: Client) -> None:
    npc = client.create("guard")
    setup, commit = adapt_requests(npc)
    for messages in ([], [commit], [setup, setup], [setup, adapt_pb2.AdaptRequest()]):
        with pytest.raises(grpc.RpcError) as caught:
            list(client.adapting.Adapt(iter(messages)))
        assert refusal(caught.value)[1] == "INVALID_STREAM"


def test_many_npcs_adapt_at_once_and_others_keep_acting(client: Client, archetypes: dict[str, Archetype]) -> None:
    npcs, actor = [client.create("scout") for _ in range(12)], client.create("guard")
    failures: list[BaseException] = []

    def adapt(npc: str, seed: int) -> None:
        try:
            client.adapt(npc, clip(archetypes["scout"].spec, 40, seed))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=adapt, args=(npc, seed)) for seed, npc in enumerate(npcs)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert isinstance(client.act_once("guard", [actor], observations(1)), act_pb2.ActOnceResponse)
    assert not failures
    assert [client.get(npc).examples for npc in npcs] == [40] * 12
