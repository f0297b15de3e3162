"""A server that answers each path with prepared bytes, however wrong, for the client to stumble over."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from npcmeta_server.gen.npcmeta.v1 import archetypes_pb2, assets_pb2, resources_pb2

SPEC = resources_pb2.BehaviorSpec(observation_size=32, action=resources_pb2.ActionSpec(continuous_size=2))
GUARD = archetypes_pb2.ListArchetypesResponse(archetypes=[resources_pb2.Archetype(name="archetypes/guard", spec=SPEC)])
MESSAGE = "observation has 31 values, „guard“ expects 32: 50% 🐢"
FILE = b"an asset " * 300


def frame(content: Message | bytes, flag: int = 0) -> bytes:
    data = content if isinstance(content, bytes) else content.SerializeToString()
    return struct.pack(">BI", flag, len(data)) + data


def trailers(**fields: object) -> bytes:
    return frame("".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in fields.items()).encode(), 0x80)


def http(body: bytes, status: str = "200 OK", kind: str = "application/grpc-web+proto", **fields: object) -> bytes:
    """The whole answer; it ends where the connection does."""
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", "connection: close"]
    lines += [f"{key.replace('_', '-')}: {value}" for key, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def failure() -> dict[str, object]:
    info = error_details_pb2.ErrorInfo(reason="INVALID_TENSOR", domain="npcmeta", metadata={"expected": "32"})
    detail = Any()
    detail.Pack(info)
    status = status_pb2.Status(code=3, message=MESSAGE, details=[detail]).SerializeToString()
    encoded = base64.b64encode(status).decode().rstrip("=")
    return {"grpc_status": 3, "grpc_message": quote(MESSAGE), "grpc_status_details_bin": encoded}


def asset(name: str = "bob.onnx", data: bytes = FILE, sha256: str = hashlib.sha256(FILE).hexdigest()) -> bytes:
    header = assets_pb2.AssetHeader(file_name=name, size_bytes=len(FILE), sha256=sha256)
    chunks = [assets_pb2.FetchAssetResponse(chunk=data[at : at + 1000]) for at in range(0, len(data), 1000)]
    return http(b"".join(map(frame, [assets_pb2.FetchAssetResponse(header=header), *chunks])) + trailers(grpc_status=0))


DONE = trailers(grpc_status=0)
ANSWERS: dict[str, bytes] = {
    "good": http(frame(GUARD) + DONE),
    "good-chunked": http(b"1\r\n\x00\r\n" + b"4\r\n" + struct.pack(">I", GUARD.ByteSize()) + b"\r\n"
                         + f"{GUARD.ByteSize() + len(DONE):x}\r\n".encode() + GUARD.SerializeToString() + DONE
                         + b"\r\n0\r\n\r\n", transfer_encoding="chunked"),
    "error-in-headers": http(b"", **failure()),
    "error-in-trailers": http(trailers(**failure())),
    "error-after-answer": http(frame(GUARD) + trailers(**failure())),
    "error-with-bad-details": http(trailers(grpc_status=5, grpc_message="gone", grpc_status_details_bin="/w$")),
    "error-with-garbled-details": http(trailers(grpc_status=5, grpc_message="100%zz", grpc_status_details_bin="////")),
    "status-unknown": http(trailers(grpc_status="many")),
    "no-status": http(frame(GUARD)),
    "nothing": http(b""),
    "no-answer": http(DONE),
    "no-archetypes": http(frame(b"") + DONE),
    "endless-pages": http(frame(archetypes_pb2.ListArchetypesResponse(next_page_token="again")) + DONE),
    "two-answers": http(frame(GUARD) * 2 + DONE),
    "more-after-trailers": http(frame(GUARD) + DONE + frame(GUARD)),
    "cut-in-head": http(b"\x00\x00\x00"),
    "cut-in-message": http(frame(GUARD)[:-2]),
    "too-long": http(b"\x00\xff\xff\xff\xff"),
    "trailers-too-long": http(frame(GUARD) + b"\x80\x7f\xff\xff\xff"),
    "compressed": http(frame(GUARD, 1) + DONE),
    "nonsense": http(frame(b"\x0a\x7f") + DONE),
    "unavailable": http(b"try later", "503 Service Unavailable", "text/plain"),
    "not-found": http(b"what?", "404 Not Found", "text/plain"),
    "elsewhere": http(b"", "302 Found", "text/plain", location="/good"),
    "website": http(b"<html>", kind="text/html"),
    "not-http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "hung-up": b"",
    "asset-good": asset(),
    "asset-wrong-digest": asset(sha256="0" * 64),
    "asset-short": asset(data=FILE[:-1]),
    "asset-endless": asset(data=FILE * 2),
    "asset-leading-out": asset(name="../bob.onnx"),
    "asset-hidden": asset(name=".bob"),
    "asset-headless": http(frame(assets_pb2.FetchAssetResponse(chunk=b"x")) + DONE),
    "asset-empty": http(DONE),
}  # fmt: skip


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            place = self.rfile.readline().split(b"/")[1].decode()
            headers = dict(line.lower().split(b": ", 1) for line in iter(self.rfile.readline, b"\r\n"))
            self.request = self.rfile.read(int(headers[b"content-length"]))[5:]
            PLAYED[place](self) if place in PLAYED else self.wfile.write(ANSWERS[place])

    def stall(self) -> None:
        self.rfile.read(1)

    def dribble(self) -> None:
        for byte in http(frame(GUARD) + DONE):
            self.wfile.write(bytes([byte]))
            time.sleep(0.05)

    def begin(self) -> None:
        self.wfile.write(http(frame(GUARD)))
        self.stall()

    def never_end(self) -> None:
        self.wfile.write(http(frame(GUARD) + DONE))
        self.stall()

    def pages(self) -> None:
        page = int(archetypes_pb2.ListArchetypesRequest.FromString(self.request).page_token or 0)
        found = [resources_pb2.Archetype(name=f"archetypes/{page}")]
        token = str(page + 1) if page < 2 else ""
        answer = archetypes_pb2.ListArchetypesResponse(archetypes=found, next_page_token=token)
        self.wfile.write(http(frame(answer) + DONE))


PLAYED: dict[str, Callable[[_Handler], None]] = {
    "pages": _Handler.pages,
    "stalls-slow": _Handler.stall,
    "dribbles-slow": _Handler.dribble,
    "begins-slow": _Handler.begin,
    "never-ends-slow": _Handler.never_end,
    "cancelled-slow": _Handler.stall,
}


@contextlib.contextmanager
def running() -> Iterator[str]:
    """The address of a server that runs meanwhile."""
    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
