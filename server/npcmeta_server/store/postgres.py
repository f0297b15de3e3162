"""The store in a database of PostgreSQL, which several servers may share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError

from npcmeta_server.store.urls import Database, StoreError

FORM = "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
SCHEMES = ("postgresql", "postgresql+psycopg")
CONNECT_SECONDS = 5
SILENT_SECONDS = 10
"""For how long a network may swallow what is said, or a row be held by somebody else, before a call fails."""
PREPARING = 0x6E70636D
"""The number of the lock under which tables are made."""


def open_database(url: str) -> Database:
    """Makes connections to a URL of SQLAlchemy's when they are needed, and again where they broke."""
    try:
        parsed = make_url(url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):  # which shows parts of it, maybe of the password
        raise StoreError(f"the store's URL cannot be read, expected {FORM}") from None
    if "@" in (parsed.host or ""):
        raise StoreError(f"the store's URL has more than one @, expected {FORM}; write it as %40 in a password")
    options: dict[str, Any] = {
        # The store's thread needs one; it is asked whether it lives, because a database may start anew meanwhile.
        "pool_size": 1,
        "max_overflow": 0,
        "pool_pre_ping": True,
        "isolation_level": "REPEATABLE READ",
        "hide_parameters": True,  # an error in a log must not hold somebody's data
        "connect_args": {
            "connect_timeout": CONNECT_SECONDS,
            "tcp_user_timeout": SILENT_SECONDS * 1000,
            "keepalives_idle": CONNECT_SECONDS,  # also while we only listen
            "keepalives_interval": 1,
        },
    }
    try:
        from npcmeta_server.store.patience import Connecting

        engine = create_engine(parsed, **options)
    except ImportError as error:
        raise StoreError(f"a store in PostgreSQL needs npcmeta[postgres]: {error}") from error
    event.listen(engine, "do_connect", Connecting())
    event.listen(engine, "connect", _set_up)
    return Database(engine, True, partial(_preparation, engine))


def _set_up(connection: Any, record: Any) -> None:
    with connection.cursor() as cursor:
        # A commit that was answered is on the disk, even if the database was told to be less careful.
        cursor.execute(
            "select set_config('synchronous_commit', 'on', false) "
            "where current_setting('synchronous_commit') in ('off', 'local')"
        )
        cursor.execute(f"set lock_timeout = '{SILENT_SECONDS}s'")
    connection.commit()


@contextlib.contextmanager
def _preparation(engine: Engine) -> Iterator[Connection]:
    # Read committed: what the server before us made, while we waited for the lock, has to be seen.
    with engine.execution_options(isolation_level="READ COMMITTED").begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(:number)"), {"number": PREPARING})
        own: Any = connection.connection.dbapi_connection
        own.unlimited = True
        yield connection
    own.unlimited = False
