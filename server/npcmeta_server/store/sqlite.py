"""The store in a file of SQLite: one server for each file, every commit on the disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.pool import StaticPool

from npcmeta_server.errors import ServiceError
from npcmeta_server.store.urls import Database, StoreError
from npcmeta_server.store.versions import is_ours

BUSY_SECONDS = 2.0


def open_database(url: str) -> Database:
    """Opens a file at a URL of SQLAlchemy's."""
    if make_url(url).database in (None, "", ":memory:"):
        raise StoreError(f'the store is "{url}", which keeps nothing; expected sqlite:///FILE')
    options: dict[str, Any] = {
        "poolclass": StaticPool,
        "connect_args": {"check_same_thread": False, "timeout": BUSY_SECONDS},
    }
    engine = create_engine(url, **options)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "commit", _check_file)
    return Database(engine, False, partial(_preparation, engine, url))


def _set_up(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say so, else savepoints would commit
    connection.create_function("sha256", 1, _sha256, deterministic=True)  # as PostgreSQL has it, for steps
    cursor = connection.cursor()
    # Exclusive: one server for each file. Full: a commit that was answered is on the disk.
    for pragma in ("locking_mode=EXCLUSIVE", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    [(_, _, path)] = cursor.execute("PRAGMA database_list").fetchall()
    record.info["file"] = path, _identity(path)
    cursor.close()


def _identity(path: str) -> tuple[int, int] | None:
    """What tells a file from another of the same name; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _check_file(connection: Connection) -> None:
    """Refuses to commit to a file that nobody will find again, which SQLite would go on writing to."""
    path, identity = connection.info["file"]
    if identity != _identity(path):
        raise ServiceError(
            "STORE_UNAVAILABLE",
            f"the store's file {Path(path).name} is not there any more, or is another one by now; nothing was changed; "
            "put it back, or start the server again",
        )


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', '')}")


@contextlib.contextmanager
def _preparation(engine: Engine, url: str) -> Iterator[Connection]:
    # Of servers that start at once, one gets the file: they must not all read it and then wait for each other.
    with engine.execution_options(begin="EXCLUSIVE").begin() as connection:
        is_ours(connection, url)
    # Not before, because it writes to the file; and not within a transaction.
    with contextlib.closing(engine.raw_connection()) as raw:
        [mode] = raw.cursor().execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise StoreError(f'the store is "{url}", which SQLite does not keep in a file of its own; use sqlite:///FILE')
    with engine.begin() as connection:
        yield connection
