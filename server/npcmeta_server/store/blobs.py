"""Data of demonstrations and states, kept once however many of them have it: clones share what they learned from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, exists, insert, select

from npcmeta_server.store import schema

AT_A_TIME = 500
"""Keys in one statement; databases have a limit."""
_FIND = select(schema.blobs.c.key).where(schema.blobs.c.digest == bindparam("sought"))
_INSERT = insert(schema.blobs)


def put(connection: Connection, data: bytes) -> int:
    """The key of data, which is written if it is not there yet."""
    digest = hashlib.sha256(data).digest()
    key: int | None = connection.execute(_FIND, {"sought": digest}).scalar()
    if key is None:
        return schema.inserted(connection.execute(_INSERT, {"digest": digest, "data": data}))
    return key


def used(connection: Connection, *queries: Select[Any]) -> list[int]:
    """The keys that queries give, each once: those which `sweep` has to look at when the rows are gone."""
    return sorted({key for query in queries for key in connection.execute(query).scalars()})


def sweep(connection: Connection, keys: Sequence[int]) -> None:
    """Deletes those of some data that nothing has any more."""
    key, tables = schema.blobs.c.key, (schema.demonstrations, schema.revisions)
    unused = [~exists().where(table.c.blob == key) for table in tables]
    for first in range(0, len(keys), AT_A_TIME):
        some = key.in_(keys[first : first + AT_A_TIME])
        connection.execute(delete(schema.blobs).where(some, *unused))
