"""The acting process's end of vetting: an uploaded archetype file becomes something that can act, or a clear error."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from safetensors.torch import load

from npcmeta.archetype import ArchetypeFileError, archetype_from_bytes
from npcmeta.header import MAX_HEADER_BYTES
from npcmeta_server.catalog import Hosted
from npcmeta_server.errors import ServiceError
from npcmeta_server.limits import MAX_ARCHETYPE_BYTES
from npcmeta_server.vetting import worker
from npcmeta_server.vetting.worker import Vetted

VET_SECONDS = 120.0
"""A process that takes longer is ended."""


class Vetter:
    """Vets files one after another, each in a process that ends with it. Call from one event loop."""

    def __init__(self) -> None:
        """Starts nothing."""
        self._turn = asyncio.Lock()
        self._process: BaseProcess | None = None
        self._wanted, self._closed = True, False

    async def vet(self, data: bytes) -> Hosted:
        """Reads a file that may be anything. Whoever gives up ends the process, so that the next one can begin.

        Raises:
            ServiceError: INVALID_ARCHETYPE, saying what is wrong with it.
        """
        _check_frame(data)
        async with self._turn:
            self._wanted = not self._closed
            asked = asyncio.ensure_future(asyncio.to_thread(self._in_process, data))
            try:
                problem, model, state = await asyncio.shield(asked)
            except asyncio.CancelledError:
                self._end()
                await asyncio.wait([asked])
                raise
        if problem:
            raise ServiceError("INVALID_ARCHETYPE", f"{problem}; nothing was kept")
        return await asyncio.to_thread(_hosted, data, model, state)

    def close(self) -> None:
        """Ends what is under way."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        self._wanted = False
        if (process := self._process) is not None:
            process.kill()

    def _in_process(self, data: bytes) -> Vetted:
        """Body of a thread: gives the file to a new process and waits for what it says."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=worker.work, args=(theirs,), daemon=True, name="vetting")
        process.start()
        self._process = process
        theirs.close()
        if not self._wanted:  # since it began to start
            process.kill()
        try:
            with contextlib.closing(ours):
                return _asked(ours, data)
        finally:
            process.kill()
            process.join()
            self._process = None


def _check_frame(data: bytes) -> None:
    """Refuses what needs no process to be seen: the length in front of a safetensors file's header is wrong."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(len(data) - 8, MAX_HEADER_BYTES):
        raise ServiceError(
            "INVALID_ARCHETYPE",
            f"the file: not a safetensors file, or cut off: {len(data):,} bytes; expected an intact npcmeta.archetype "
            "file; nothing was kept",
        )


def _asked(connection: Connection, data: bytes) -> Vetted:
    """Only bytes come back, no objects: the process may have been turned against us."""
    try:
        connection.send_bytes(data)
        if not connection.poll(VET_SECONDS):
            return f"the file takes more than {VET_SECONDS:.0f} s to read", b"", b""
        said = json.loads(connection.recv_bytes(1 << 16))
        most = 4 * MAX_ARCHETYPE_BYTES
        return str(said["problem"]), connection.recv_bytes(most), connection.recv_bytes(most)
    except (EOFError, OSError):
        return "the process that read the file ended over it: it takes more memory or time than it may", b"", b""


def _hosted(data: bytes, model: bytes, state: bytes) -> Hosted:
    try:
        return Hosted(archetype_from_bytes(data, source="the file"), data, model, load(state))
    except ArchetypeFileError as error:
        raise ServiceError("INVALID_ARCHETYPE", f"{error}; nothing was kept") from error
