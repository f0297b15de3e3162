"""A server with mutual TLS and tokens, and what calls of it come to in every protocol."""

import base64
import ssl
import struct
from typing import NamedTuple

import grpc
import httpx
import trustme
from google.rpc import error_details_pb2

from npcmeta_server.access.tls import TlsFiles
from tests.server.client import refusal
from tests.server.test_http import frames

LIST = "/npcmeta.v1.ArchetypeService/ListArchetypes"
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
