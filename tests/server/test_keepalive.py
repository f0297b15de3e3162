"""A game that is paused, and whose client asks whether the server is still there, keeps its connection."""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator

from npcmeta_server.demo.host import Address
from npcmeta_server.ports.grpc_port import MIN_PING_MILLISECONDS

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY, ACKNOWLEDGED = 4, 6, 7, 1
STRIKES = 2
"""Pings too many that gRPC forgives."""


class Connection:
    """HTTP/2, frame by frame, as no library lets one ping."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=60)
        self._socket.sendall(PREFACE)
        self.send(SETTINGS)
        self._reader = self._socket.makefile("rb")

    def send(self, kind: int, payload: bytes = b"") -> None:
        self._socket.sendall(struct.pack(">IBI", len(payload) << 8 | kind, 0, 0) + payload)

    def frames(self) -> Iterator[tuple[int, int, bytes]]:
        """Kind, flags and payload of each frame that comes."""
        while head := self._reader.read(9):
            length, flags, _ = struct.unpack(">IBI", head)
            yield length & 255, flags, self._reader.read(length >> 8)

    def close(self) -> None:
        self._reader.close()
        self._socket.close()


def test_a_client_may_ping_once_a_second_while_it_plays_nothing(server: Address) -> None:
    with contextlib.closing(Connection(server.grpc)) as connection:
        frames = connection.frames()
        for number in range(STRIKES + 3):
            ping = number.to_bytes(8, "big")
            connection.send(PING, ping)
            said = next(frame for frame in frames if frame[0] in (PING, GOAWAY))
            assert said == (PING, ACKNOWLEDGED, ping)
            time.sleep(MIN_PING_MILLISECONDS / 1000)
