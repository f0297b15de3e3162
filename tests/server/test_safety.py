"""A server with mutual TLS and tokens: the same rules on both ports and in every protocol."""

import base64
import contextlib
import logging
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
import pytest
import trustme
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from npcmeta_server.access import tokens
from npcmeta_server.access.tls import TlsFiles
from npcmeta_server.gen.npcmeta.v1 import act_pb2, npcs_pb2
from npcmeta_server.gen.open_inference import inference_pb2
from npcmeta_server.serving import Settings
from tests.server.client import Client, Stream, cast, refusal
from tests.server.in_thread import served
from tests.server.test_http import frames

LIST = "/npcmeta.v1.ArchetypeService/ListArchetypes"
DELETE = "/npcmeta.v1.NpcService/DeleteNpc"
UPGRADE = "/npcmeta.v1.UpgradeService/UpgradeNpcs"
UPLOAD = "/npcmeta.v1.ArchetypeService/UploadArchetypeOnce"
PAGE = "https://game.example"


class Secured(NamedTuple):
    grpc: str
    http: str
    tokens: dict[str, str]
    authority: trustme.CA
    client_certificate: trustme.LeafCert
    files: TlsFiles

    def channel(self, *, known: bool = True) -> grpc.Channel:
        pair = self.client_certificate
        own = (pair.private_key_pem.bytes(), pair.cert_chain_pems[0].bytes()) if known else (None, None)
        trusted = self.authority.cert_pem.bytes()
        return grpc.secure_channel(self.grpc, grpc.ssl_channel_credentials(trusted, *own))

    def context(self, *, known: bool = True) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if known:
            self.client_certificate.configure_cert(context)
        return context

    def post(self, path: str, name: str, kind: str = "application/json", content: bytes = b"{}") -> httpx.Response:
        headers = {"content-type": kind, "origin": PAGE} | dict(self.header(name))
        return httpx.post(f"{self.http}{path}", content=content, headers=headers, verify=self.context(), timeout=60)

    def header(self, name: str) -> tuple[tuple[str, str], ...]:
        known = {"nobody": (), "stranger": (("authorization", "Bearer game.guess"),)}
        return known[name] if name in known else (("authorization", f"Bearer {self.tokens[name]}"),)


@pytest.fixture(scope="module")
def log() -> Iterator[list[str]]:
    """All that is logged while the server runs."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(logging.Formatter().format(record))  # type: ignore[method-assign]
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="module")
def secured(archetype_folder: Path, tmp_path_factory: pytest.TempPathFactory, log: list[str]) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    authority = trustme.CA()
    files = TlsFiles(folder / "server.pem", folder / "server.key", folder / "ca.pem")
    write_certificate(authority, files)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    quotas: dict[str, dict[str, int]] = {"narrow": {"calls": 1}, "slow": {"messages_per_second": 2}}
    made = {n: tokens.new(n, "act", quotas.get(n, {})) for n in ("game", "narrow", "slow")}
    made["tool"] = tokens.new("tool", "adapt", {})
    made["owner"] = tokens.new("owner", "admin", {})
    (folder / "tokens.toml").write_text("\n".join(lines for _, lines in made.values()))
    settings = Settings(
        archetype_folder, f"sqlite:///{folder / 'npcs.db'}", "127.0.0.1", 0, 0, max_message_bytes=1 << 20,
        tls=files, tokens=folder / "tokens.toml", origins=(PAGE,),
    )  # fmt: skip
    with served(settings) as server:
        port = server.grpc.rpartition(":")[2]
        texts = {name: text for name, (text, _) in made.items()}
        yield Secured(
            f"localhost:{port}", server.http.replace("127.0.0.1", "localhost"), texts, authority,
            authority.issue_cert("client.example"), files,
        )  # fmt: skip
    assert not [line for line in log for text in texts.values() if text.partition(".")[2] in line]


def write_certificate(authority: trustme.CA, files: TlsFiles) -> trustme.LeafCert:
    leaf = authority.issue_cert("localhost")
    leaf.private_key_pem.write_to_path(files.key)
    leaf.cert_chain_pems[0].write_to_path(files.certificate)
    return leaf


def grpc_outcome(secured: Secured, path: str, name: str) -> tuple[str, str]:
    with secured.channel() as channel:
        try:
            channel.unary_unary(path)(b"", metadata=secured.header(name), timeout=60)
        except grpc.RpcError as error:
            code, reason, _ = refusal(error)
            return code.name, reason
    return "OK", ""


def connect_outcome(secured: Secured, path: str, name: str) -> tuple[str, str]:
    answer = secured.post(path, name)
    if answer.status_code == 200:
        return "OK", ""
    [detail] = answer.json()["details"]
    info = error_details_pb2.ErrorInfo.FromString(base64.b64decode(detail["value"] + "=="))
    return answer.json()["code"].upper(), info.reason


def grpc_web_outcome(secured: Secured, path: str, name: str) -> tuple[str, str]:
    answer = secured.post(path, name, "application/grpc-web+proto", b"\0" + struct.pack(">I", 0))
    text = "".join(part.decode() for flag, part in frames(answer.content) if flag & 0x80)
    text += "".join(f"{key}:{value}\r\n" for key, value in answer.headers.items())  # if there is nothing but an error
    found = dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)
    code = next(code.name for code in grpc.StatusCode if code.value[0] == int(found["grpc-status"]))
    if code == "OK":
        return code, ""
    packed = base64.b64decode(found["grpc-status-details-bin"].strip() + "==")
    reasons = ("INVALID_TOKEN", "ROLE_NEEDED", "INVALID_NAME")
    return code, next(reason for reason in reasons if reason.encode() in packed)


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


def test_who_has_no_certificate_of_ours_does_not_come_in(secured: Secured) -> None:
    with secured.channel(known=False) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(LIST)(b"", metadata=secured.header("game"), timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{secured.http}/health", verify=secured.context(known=False), timeout=60)


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


def test_a_token_that_was_taken_back_opens_nothing(secured: Secured) -> None:
    assert grpc_outcome(secured, LIST, "game") == ("OK", "")
    file = secured.files.certificate.parent / "tokens.toml"
    file.write_text(file.read_text().replace("[game]", "[game2]"))
    for _ in range(1000):
        if grpc_outcome(secured, LIST, "game") == ("UNAUTHENTICATED", "INVALID_TOKEN"):
            return
    pytest.fail("the server did not notice")
