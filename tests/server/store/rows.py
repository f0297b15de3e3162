"""What tests of the store put into it."""

import time

import pytest

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import CommitRequest, NpcRow, RequestKey, Store

ANY = RequestKey("", "")
STATE = b"state"


def npc_row(name: str, archetype: str = "guard", etag: str = "first") -> NpcRow:
    now = time.time()
    return NpcRow(name, archetype, "", (1 << 64) - 1, 1, 0, now, now, etag)


def commit_of(store: Store, npc: str, **changes: object) -> CommitRequest:
    wanted = CommitRequest(npc, store.npc(npc).etag, "abc", 5, 0.5, b"adapted", ((b"clip", 5),), (), False)
    return wanted._replace(**changes)


def reason_of(error: pytest.ExceptionInfo[ServiceError]) -> str:
    return error.value.reason
