"""Who the running task works for, and what came from them: what services may know of a call."""

from __future__ import annotations

from npcmeta_server.access.gate import current, peer


def caller() -> str:
    """Who the running task works for: a token, or where there are none, a connection, or a machine over HTTP."""
    call = current.get()
    return f"token:{call.token}" if call is not None and call.token else peer.get()


def received() -> int:
    """Bytes of the message that the running task answers, as it came; asking it would cost as much as writing it."""
    call = current.get()
    return call.received if call is not None else 0
