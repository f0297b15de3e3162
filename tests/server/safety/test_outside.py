"""What a secured server shows to the outside: certificates, origins of pages, names of requests."""

import base64
import ssl

import grpc
import httpx
import pytest

from npcmeta_server.gen.npcmeta.v1 import npcs_pb2
from tests.server.client import Client
from tests.server.secured import LIST, PAGE, Secured, connect_outcome, grpc_outcome, write_certificate


def test_who_has_no_certificate_of_ours_does_not_come_in(secured: Secured) -> None:
    with secured.channel(known=False) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(LIST)(b"", metadata=secured.header("game"), timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{secured.http}/health", verify=secured.context(known=False), timeout=60)


def test_pages_of_the_named_origin_may_call_and_others_may_not(secured: Secured) -> None:
    def preflight(origin: str) -> httpx.Response:
        asks = {"origin": origin, "access-control-request-method": "POST"}
        asks["access-control-request-headers"] = "authorization,content-type,x-grpc-web"
        return httpx.request("OPTIONS", f"{secured.http}{LIST}", headers=asks, verify=secured.context(), timeout=60)

    allowed = preflight(PAGE)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, PAGE)
    assert "access-control-allow-origin" not in preflight("https://elsewhere.example").headers
    answer = secured.post(LIST, "nobody")  # a page has to be able to read why it was refused
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, PAGE)
    assert "grpc-status" in answer.headers["access-control-expose-headers"]


def test_a_message_that_is_too_large_is_refused_with_a_reason_over_http(secured: Secured) -> None:
    assert secured.post(LIST, "nobody", content=b"x" * (2 << 20)).status_code == 401  # before it is read
    answer = secured.post(LIST, "game", content=b'{"pageToken": "%s"}' % (b"x" * (2 << 20)))
    [detail] = answer.json()["details"]
    assert answer.json()["code"] == "resource_exhausted"
    assert b"TOO_MANY" in base64.b64decode(detail["value"] + "==")


def test_an_answer_names_the_request_as_the_client_does(secured: Secured) -> None:
    given = (("x-request-id", "frame-9"), *secured.header("game"))
    answer = httpx.post(f"{secured.http}{LIST}", json={}, headers=dict(given), verify=secured.context(), timeout=60)
    assert answer.headers["x-request-id"] == "frame-9"
    with secured.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        Client(channel).npcs.GetNpc(npcs_pb2.GetNpcRequest(name="npcs/nobody"), metadata=given)
    assert dict(caught.value.trailing_metadata())["x-request-id"] == "frame-9"


def test_a_refusal_names_the_request_too(secured: Secured) -> None:
    given = (("x-request-id", "frame-9"),)
    answer = httpx.post(f"{secured.http}{LIST}", json={}, headers=dict(given), verify=secured.context(), timeout=60)
    assert (answer.status_code, answer.headers.get("x-request-id")) == (401, "frame-9")
    with secured.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        Client(channel).npcs.GetNpc(npcs_pb2.GetNpcRequest(name="npcs/nobody"), metadata=given)
    assert dict(caught.value.trailing_metadata())["x-request-id"] == "frame-9"


def test_a_renewed_certificate_is_shown_to_the_next_client_and_a_broken_one_to_none(secured: Secured) -> None:
    def shown() -> set[str]:
        ports = [int(address.rpartition(":")[2]) for address in (secured.grpc, secured.http)]
        return {ssl.get_server_certificate(("localhost", port), timeout=60) for port in ports}

    [before] = shown()
    renewed = write_certificate(secured.authority, secured.files).cert_chain_pems[0].bytes().decode()
    assert shown() == {renewed} != {before}
    secured.files.certificate.write_text("broken")
    assert shown() == {renewed}
    assert grpc_outcome(secured, LIST, "game") == connect_outcome(secured, LIST, "game") == ("OK", "")
