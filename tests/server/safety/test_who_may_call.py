"""Tokens, roles and quotas: the same rules on both ports and in every protocol."""

import contextlib
import re
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from npcmeta_server.gen.npcmeta.v1 import act_pb2
from npcmeta_server.gen.open_inference import inference_pb2
from tests.server.client import Stream, cast, refusal
from tests.server.secured import LIST, Secured, connect_outcome, grpc_outcome, grpc_web_outcome

DELETE = "/npcmeta.v1.NpcService/DeleteNpc"
UPGRADE = "/npcmeta.v1.UpgradeService/UpgradeNpcs"
UPLOAD = "/npcmeta.v1.ArchetypeService/UploadArchetypeOnce"


@pytest.mark.parametrize("ask", [grpc_outcome, connect_outcome, grpc_web_outcome])
@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        (LIST, "game", ("OK", "")),
        (LIST, "nobody", ("UNAUTHENTICATED", "INVALID_TOKEN")),
        (LIST, "stranger", ("UNAUTHENTICATED", "INVALID_TOKEN")),
        (DELETE, "tool", ("PERMISSION_DENIED", "ROLE_NEEDED")),
        (DELETE, "owner", ("INVALID_ARGUMENT", "INVALID_NAME")),
        (UPGRADE, "tool", ("PERMISSION_DENIED", "ROLE_NEEDED")),
        (UPGRADE, "owner", ("INVALID_ARGUMENT", "INVALID_NAME")),
        (UPLOAD, "tool", ("PERMISSION_DENIED", "ROLE_NEEDED")),
        (UPLOAD, "owner", ("INVALID_ARGUMENT", "INVALID_NAME")),
    ],
)
def test_tokens_and_roles_count_the_same_in_every_protocol(
    secured: Secured, ask: Any, path: str, name: str, expected: tuple[str, str]
) -> None:
    assert ask(secured, path, name) == expected


def test_what_is_not_ours_on_the_port_is_behind_the_gate_too_and_health_is_open(secured: Secured) -> None:
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    with secured.channel() as channel:
        reflected = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        with pytest.raises(grpc.RpcError) as caught:
            next(reflected(iter([ask])))
        assert refusal(caught.value)[1] == "INVALID_TOKEN"
        listed = next(reflected(iter([ask]), metadata=secured.header("game"))).list_services_response.service
        assert {"npcmeta.v1.ActService", "grpc.health.v1.Health"} <= {service.name for service in listed}
        infer = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        with pytest.raises(grpc.RpcError) as caught:
            infer(b"")
        assert refusal(caught.value)[1] == "INVALID_TOKEN"
        live = infer(b"", metadata=secured.header("game"))
        assert inference_pb2.ServerLiveResponse.FromString(live).live
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
    answer = httpx.get(f"{secured.http}/health", verify=secured.context(), timeout=60)
    assert (answer.status_code, answer.text) == (200, "SERVING\n")


def test_a_tokens_calls_are_counted_while_they_last(secured: Secured) -> None:
    with secured.channel() as channel:
        act = channel.stream_stream(
            "/npcmeta.v1.ActService/Act", act_pb2.ActRequest.SerializeToString, act_pb2.ActResponse.FromString
        )
        first = Stream(lambda requests: act(requests, metadata=secured.header("narrow")))
        assert first.ask(cast()).WhichOneof("response") == "cast"
        assert connect_outcome(secured, LIST, "narrow") == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
        first.call.cancel()
        with contextlib.suppress(grpc.RpcError):
            list(first.call)
        for _ in range(100):  # the server hears of it a moment later
            if grpc_outcome(secured, LIST, "narrow") == ("OK", ""):
                return
    pytest.fail("the place of a stream that ended was not given back")


def test_a_stream_that_sends_too_fast_is_ended_with_a_reason(secured: Secured) -> None:
    with secured.channel() as channel:
        act = channel.stream_stream(
            "/npcmeta.v1.ActService/Act", act_pb2.ActRequest.SerializeToString, act_pb2.ActResponse.FromString
        )
        with pytest.raises(grpc.RpcError) as caught:
            list(act((cast() for _ in range(20)), metadata=secured.header("slow"), timeout=60))
    code, reason, message = refusal(caught.value)
    assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
    assert "token slow sent more than 2 messages in a second; try again in" in message


def test_a_token_that_was_taken_back_opens_nothing(secured: Secured) -> None:
    assert grpc_outcome(secured, LIST, "game") == ("OK", "")
    file = secured.files.certificate.parent / "tokens.toml"
    file.write_text(file.read_text().replace("[game]", "[game2]"))
    for _ in range(1000):
        if grpc_outcome(secured, LIST, "game") == ("UNAUTHENTICATED", "INVALID_TOKEN"):
            return
    pytest.fail("the server did not notice")


@pytest.mark.parametrize(
    ("ask", "expected"),
    [(grpc_outcome, r"asked by ipv[46]:.+:\d+$"), (connect_outcome, r"asked by http:(127\.0\.0\.1|::1)$")],
)
def test_the_log_says_who_called_without_a_known_token(
    secured: Secured, log: list[str], ask: Any, expected: str
) -> None:
    before = len(log)
    for name in ("nobody", "stranger"):
        ask(secured, LIST, name)
    lines = [line for line in log[before:] if line.startswith(LIST)]
    assert [bool(re.match(f"{LIST}: INVALID_TOKEN, {expected}", line)) for line in lines] == [True, True]
    assert not [line for line in log[before:] if "guess" in line]
