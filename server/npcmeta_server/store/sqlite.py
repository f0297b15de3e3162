"""The store in a file of SQLite: one server for each file, every commit on the disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import StaticPool

from npcmeta_server.errors import ServiceError
from npcmeta_server.store.urls import Database, StoreError
from npcmeta_server.store.versions import is_ours

BUSY_SECONDS = 2.0
"""How long to try to get a file that another server has."""


def open_database(url: str) -> Database:
    """Opens a file at a URL of SQLAlchemy's."""
    if make_url(url).database in (None, "", ":memory:"):
        raise StoreError(f'the store is "{url}", which keeps nothing; expected sqlite:///FILE')
    options: dict[str, Any] = {
        "poolclass": StaticPool,
        "connect_args": {"check_same_thread": False, "timeout": BUSY_SECONDS / 10},
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


def _take(engine: Engine, url: str) -> None:
    """Gets the file, which one server may have.

    Of servers that start at once, one gets it: those that wait for each other let go of what they have, and try again.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            with engine.execution_options(begin="EXCLUSIVE").begin() as connection:
                is_ours(connection, url)
            return
        except OperationalError as error:
            if "locked" not in str(error.orig) or time.monotonic() > deadline:
                raise
            engine.dispose()
            time.sleep(random.uniform(0, BUSY_SECONDS / 10))


@contextlib.contextmanager
def _preparation(engine: Engine, url: str) -> Iterator[Connection]:
    _take(engine, url)
    # Not before, because it writes to the file; and not within a transaction.
    with contextlib.closing(engine.raw_connection()) as raw:
        [mode] = raw.cursor().execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise StoreError(f'the store is "{url}", which SQLite does not keep in a file of its own; use sqlite:///FILE')
    with engine.begin() as connection:
        yield connection
