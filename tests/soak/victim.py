"""A server that may be killed and started again on the same ports and the same store."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from npcmeta_server.demo import host
from npcmeta_server.demo.host import Address
from tests.server.conftest import save

ARCHETYPE = "guard"


def serve_command(folder: Path, port: int, http_port: int) -> list[str]:
    """`npcmeta serve` over the archetypes and the store of a folder."""
    options = {"archetypes": folder / "archetypes", "store": f"sqlite:///{folder / 'npcs.db'}", "port": port}
    named = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    return [sys.executable, "-m", "npcmeta_server.cli", "serve", *named, "--http-port", str(http_port)]


class Victim:
    """`npcmeta serve` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        """Makes an archetype in `folder`, where the store and the log are, too."""
        self.log = folder / "log"
        (folder / "archetypes").mkdir()
        save(ARCHETYPE, folder / "archetypes")
        ports = host.free_port(), host.free_port()
        self.address = Address(f"127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}")
        self._command = serve_command(folder, *ports)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def pid(self) -> int:
        """Of the server that runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it and waits until it is healthy."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        host.wait_until_healthy(self._process, self.address, self.log)

    def kill(self) -> None:
        """kill -9, of the server and whatever it started."""
        assert self._process is not None
        family = [self._process.pid, *children(self._process.pid)]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def check(self) -> None:
        """It lives, and has logged no fault of its own."""
        assert self._process is not None
        assert self._process.poll() is None, f"the server ended with code {self._process.returncode}, see {self.log}"
        faults = re.findall(r".*(?: ERROR npcmeta_server|Traceback).*", self.log.read_text(errors="replace"))
        assert not faults, faults[:3]


@contextlib.contextmanager
def victim(folder: Path) -> Iterator[Victim]:
    """A server until the end of the block."""
    made = Victim(folder)
    try:
        yield made
    finally:
        made.kill()


def children(pid: int) -> list[int]:
    """The adaptation processes of a server; multiprocessing's resource tracker is none."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            command = entry.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if parent == pid and b"spawn_main" in command:
            found.append(int(entry.parent.name))
    return found


def resident_mebibytes(pid: int) -> float:
    """Memory of a server and of its adaptation processes."""
    pages = [int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in (pid, *children(pid))]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
