"""The truth on disk: NPCs, demonstrations and revisions behind one small interface and a URL."""

from __future__ import annotations

from npcmeta_server.store.npcs import new_etag
from npcmeta_server.store.rows import (
    ONCE,
    CommitRequest,
    Committed,
    DemonstrationRow,
    NpcFilter,
    NpcRow,
    RequestKey,
    RevisionRow,
    Snapshot,
)
from npcmeta_server.store.sql import Store
from npcmeta_server.store.urls import StoreError, shown

__all__ = [
    "ONCE",
    "CommitRequest",
    "Committed",
    "DemonstrationRow",
    "NpcFilter",
    "NpcRow",
    "RequestKey",
    "RevisionRow",
    "Snapshot",
    "Store",
    "StoreError",
    "new_etag",
    "shown",
]
