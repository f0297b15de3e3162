"""The vetting process: reads one archetype file, makes its policy graph, says what came of it, and ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from safetensors.torch import save

from npcmeta.archetype import ArchetypeFileError
from npcmeta_server import catalog, signals
from npcmeta_server.catalog import Hosted

MEMORY_BYTES = 2 << 30
MEMORY_PER_BYTE = 8
"""How much memory may be taken beside what the process itself needs, and for each byte of the file."""
CPU_SECONDS = 120

Vetted = tuple[str, bytes, bytes]
"""What is wrong, or empty; the policy graph; the first state as a safetensors file."""


def work(connection: Connection) -> None:
    """Body of the process: takes a file, answers with JSON, the policy graph and the first state, and ends."""
    signals.leave_to_the_server()
    torch.set_num_threads(1)
    data = connection.recv_bytes()
    _limit(len(data))
    problem, model, state = _vetted(lambda: catalog.host_bytes(data, source="the file"))
    connection.send_bytes(json.dumps({"problem": problem}).encode())
    connection.send_bytes(model)
    connection.send_bytes(state)


def check_weights(hosted: Hosted) -> None:
    """Raises ArchetypeFileError if a weight is no finite number: a policy may hide it until somebody is adapted."""
    for key, value in hosted.archetype.meta.items():
        if not torch.isfinite(value).all():
            raise ArchetypeFileError(f'the file: its tensor "{key[:80]}" holds NaN or infinity; train it again')


def _vetted(read: Callable[[], Hosted]) -> Vetted:
    try:
        hosted = read()
        check_weights(hosted)
    except ArchetypeFileError as error:
        return str(error)[:500], b"", b""
    except Exception as error:  # of whatever kind: the bytes are anybody's
        return f"the file cannot be made to act ({type(error).__name__}: {str(error)[:200]})", b"", b""
    return "", hosted.model, save({key: value.contiguous() for key, value in hosted.first_state.items()})


def _limit(size: int) -> None:
    """Bounds what the process may take from now on, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    pages = Path("/proc/self/statm")
    if pages.exists():
        taken = int(pages.read_text().split()[0]) * resource.getpagesize()
        _lower(resource.RLIMIT_AS, taken + MEMORY_BYTES + MEMORY_PER_BYTE * size)
    _lower(resource.RLIMIT_CPU, CPU_SECONDS)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(kind: int, limit: int) -> None:
    import resource

    _, most = resource.getrlimit(kind)
    resource.setrlimit(kind, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))
