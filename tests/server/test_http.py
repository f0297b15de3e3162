"""The HTTP port: Connect JSON by plain HTTP, and gRPC-Web by hand."""

import base64
import json
import re
import struct
from typing import Any

import httpx
import numpy as np
import pytest
from google.rpc import error_details_pb2

from npcmeta.archetype import Archetype
from npcmeta_server import tensors
from npcmeta_server.demo.host import Address
from npcmeta_server.gen.npcmeta.v1 import act_pb2, adapt_pb2, assets_pb2, npcs_pb2
from tests.server.client import Client, array, clip, observations


def call(server: Address, method: str, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{server.http}/npcmeta.v1.{method}", json=body, timeout=20)


def test_a_game_with_nothing_but_http_and_json_can_do_the_whole_job(server: Address) -> None:
    npc = call(server, "NpcService/CreateNpc", {"npc": {"archetype": "archetypes/painter"}}).json()["name"]

    def tensor(values: np.ndarray) -> dict[str, Any]:
        data = base64.b64encode(values.astype(np.float32).tobytes()).decode()
        return {"dataType": "FLOAT32", "shape": list(values.shape), "data": data}

    examples = {"observations": tensor(observations(40)), "continuousActions": tensor(np.full((40, 2), 0.5))}
    body = json.dumps({"setup": {"npc": npc}, "examples": [examples]}).encode()
    answer = httpx.post(
        f"{server.http}/npcmeta.v1.AdaptService/AdaptOnce",
        content=b"\0" + struct.pack(">I", len(body)) + body,
        headers={"content-type": "application/connect+json"},
        timeout=20,
    )
    events = [json.loads(message) for flag, message in frames(answer.content) if not flag & 2]
    assert [next(iter(event)) for event in events] == ["started", "accepted", "progress", "progress", "committed"]
    assert events[-1]["committed"]["revision"]["examples"] == "40"

    request = {"archetype": "archetypes/painter", "npcs": [npc], "observations": tensor(observations(1))}
    acted = call(server, "ActService/ActOnce", request).json()
    assert acted["revisions"] == ["2"]
    assert len(base64.b64decode(acted["continuousActions"]["data"])) == 8


def frames(content: bytes) -> list[tuple[int, bytes]]:
    """The enveloped messages of a streamed body: flags and payload."""
    found, at = [], 0
    while at < len(content):
        size = struct.unpack(">I", content[at + 1 : at + 5])[0]
        found.append((content[at], content[at + 5 : at + 5 + size]))
        at += 5 + size
    assert at == len(content)
    return found


def grpc_web(server: Address, method: str, message: bytes) -> tuple[list[bytes], dict[str, str]]:
    answer = httpx.post(
        f"{server.http}/npcmeta.v1.{method}",
        content=b"\0" + struct.pack(">I", len(message)) + message,
        headers={"content-type": "application/grpc-web+proto", "x-grpc-web": "1"},
        timeout=20,
    )
    assert answer.status_code == 200
    parts = frames(answer.content)
    trailers = [
        line.split(":", 1) for flag, part in parts if flag & 0x80 for line in part.decode().strip().split("\r\n")
    ]
    return [part for flag, part in parts if not flag & 0x80], {key.lower(): value.strip() for key, value in trailers}


def test_grpc_web_does_what_grpc_does(server: Address, client: Client, archetypes: dict[str, Archetype]) -> None:
    npc = client.create("guard")
    request = adapt_pb2.AdaptOnceRequest(setup=adapt_pb2.AdaptSetup(npc=npc), examples=[clip(archetypes["guard"].spec)])
    messages, trailers = grpc_web(server, "AdaptService/AdaptOnce", request.SerializeToString())
    assert trailers["grpc-status"] == "0"
    assert adapt_pb2.AdaptResponse.FromString(messages[-1]).committed.revision.number == 2
    wanted = act_pb2.ActOnceRequest(
        archetype="archetypes/guard", npcs=[npc], observations=tensors.write(observations(1))
    )
    [message], _ = grpc_web(server, "ActService/ActOnce", wanted.SerializeToString())
    over_web, over_grpc = act_pb2.ActOnceResponse.FromString(message), client.acting.ActOnce(wanted)
    np.testing.assert_array_equal(array(over_web.continuous_actions), array(over_grpc.continuous_actions))
    name = assets_pb2.FetchAssetRequest(name=f"{npc}/assets/ort").SerializeToString()
    parts = [
        assets_pb2.FetchAssetResponse.FromString(part) for part in grpc_web(server, "AssetService/FetchAsset", name)[0]
    ]
    assert b"".join(part.chunk for part in parts) == client.fetch(f"{npc}/assets/ort")[1]


def test_grpc_web_as_text_is_the_same_in_base64(server: Address, client: Client) -> None:
    npc = client.create("guard")
    for method, message, count in (
        ("NpcService/GetNpc", npcs_pb2.GetNpcRequest(name=npc), 1),
        ("AssetService/FetchAsset", assets_pb2.FetchAssetRequest(name=f"{npc}/assets/ort"), 2),
        ("NpcService/GetNpc", npcs_pb2.GetNpcRequest(name="npcs/nobody"), 0),
    ):
        asked = message.SerializeToString()
        head = base64.b64encode(b"\0" + struct.pack(">I", len(asked)))  # a piece with a padding of its own
        answer = httpx.post(
            f"{server.http}/npcmeta.v1.{method}",
            content=iter((head[:3], head[3:] + base64.b64encode(asked))),
            headers={"content-type": "application/grpc-web-text", "x-grpc-web": "1"},
            timeout=20,
        )
        assert answer.headers["content-type"] == "application/grpc-web-text+proto"
        found = frames(b"".join(map(base64.b64decode, re.findall(rb"[^=]+=*", answer.content))))
        expected, trailers = grpc_web(server, method, asked)
        assert [part for flag, part in found if not flag & 0x80] == expected
        assert len(expected) == count
        assert f"grpc-status: {trailers['grpc-status']}" in found[-1][1].decode().lower()


def test_text_that_is_no_base64_is_refused(server: Address) -> None:
    headers = {"content-type": "application/grpc-web-text+proto"}
    answer = httpx.post(f"{server.http}/npcmeta.v1.NpcService/GetNpc", content=b"=!?*", headers=headers, timeout=20)
    [(_, trailers)] = frames(base64.b64decode(answer.content))
    assert b"grpc-status: 3" in trailers.lower()


def test_errors_carry_their_info_over_connect_and_grpc_web(server: Address) -> None:
    answer = call(server, "NpcService/GetNpc", {"name": "npcs/nobody"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert error_info(answer).reason == "NPC_NOT_FOUND"
    _, trailers = grpc_web(server, "ActService/ActOnce", b"")
    assert trailers["grpc-status"] == "3"
    assert trailers["grpc-status-details-bin"]


def error_info(answer: httpx.Response) -> error_details_pb2.ErrorInfo:
    [detail] = answer.json()["details"]
    assert detail["type"] == "google.rpc.ErrorInfo"
    info = error_details_pb2.ErrorInfo.FromString(base64.b64decode(detail["value"] + "=="))
    assert info.domain == "npcmeta"
    debug = {"reason": info.reason, "domain": info.domain, "metadata": dict(info.metadata)}
    assert detail["debug"] == debug
    return info


@pytest.mark.parametrize(
    ("path", "content", "kind", "status"),
    [
        ("npcmeta.v1.NpcService/GetNpc", b"\xff\x00garbage", "application/json", 400),
        ("npcmeta.v1.NpcService/GetNpc", b"\xff\xff\xff", "application/proto", 400),
        ("npcmeta.v1.NpcService/GetNpc", b"null", "application/json", 400),
        ("npcmeta.v1.NpcService/NoSuchMethod", b"{}", "application/json", 404),
        ("npcmeta.v1.NpcService/GetNpc", b"{}", "text/html", 415),
        ("elsewhere", b"", "application/json", 404),
    ],
)
def test_garbage_gets_a_client_error(server: Address, path: str, content: bytes, kind: str, status: int) -> None:
    answer = httpx.post(f"{server.http}/{path}", content=content, headers={"content-type": kind}, timeout=20)
    assert answer.status_code == status
    assert error_info(answer).reason == ("METHOD_NOT_FOUND" if status == 404 else "INVALID_ARGUMENT")
    assert answer.json()["message"]
    assert call(server, "ArchetypeService/ListArchetypes", {}).status_code == 200


@pytest.mark.parametrize(
    ("method", "http_method", "kind", "expected"),
    [
        ("NpcService/GetNpc", "POST", "application/x-www-form-urlencoded", "application/json"),
        ("NpcService/GetNpc", "GET", "application/json", "POST with application/json"),
        ("AdaptService/AdaptOnce", "POST", "application/json", "application/connect+json"),
        ("AdaptService/Adapt", "POST", "application/json", "application/connect+json"),
    ],
)
def test_who_speaks_no_protocol_hears_which_to_speak(
    server: Address, method: str, http_method: str, kind: str, expected: str
) -> None:
    answer = httpx.request(
        http_method, f"{server.http}/npcmeta.v1.{method}", content=b"{}", headers={"content-type": kind}, timeout=20
    )
    assert answer.status_code == (405 if http_method == "GET" else 415)
    assert answer.headers["allow"] == "POST"
    message = answer.json()["message"]
    assert expected in message
    assert kind in message
    assert error_info(answer).reason == "INVALID_ARGUMENT"
