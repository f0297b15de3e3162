"""Processor time and memory of processes, as Linux counts them; and a process that does nothing but take time."""

from __future__ import annotations

import os
import time
from multiprocessing.connection import Connection
from pathlib import Path

STAT = Path("/proc/self/stat")
NICENESS = 5
"""Adapting takes time at several priorities: the server and clients at the usual one, its process only what is idle."""
SLICE_SECONDS = 0.004


def check() -> None:
    """Raises ValueError where processes cannot be looked at."""
    if not STAT.exists():
        raise ValueError("bench serving reads processor times from /proc: run it on Linux, a container will do")


def seconds(pid: int) -> float:
    """Processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int | None = None) -> int:
    """Memory that a process holds."""
    pages = Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def burn(connection: Connection) -> None:
    """Body of a process that takes, on command, a share of one processor for some seconds."""
    os.nice(NICENESS)
    while True:
        share, duration = connection.recv()
        began, spent = time.monotonic(), time.process_time()
        while (passed := time.monotonic() - began) < duration:
            if (time.process_time() - spent) < share * passed:
                until = time.process_time() + SLICE_SECONDS
                while time.process_time() < until:
                    pass
            else:
                time.sleep(SLICE_SECONDS)
        connection.send(time.process_time() - spent)
