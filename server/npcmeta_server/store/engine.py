"""Opening the database: its settings, and the version of what is in it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.pool import StaticPool

from npcmeta_server.store import schema

BUSY_SECONDS = 2.0


class StoreError(RuntimeError):
    """The store cannot be opened."""


def open_engine(url: str) -> Engine:
    """Opens the database at a SQLAlchemy URL: SQLite, one server for each file, every commit on the disk."""
    if not url.startswith("sqlite:"):
        raise StoreError(f'the store is "{url.partition(":")[0]}:...", expected sqlite:///FILE')
    if make_url(url).database in (None, "", ":memory:"):
        raise StoreError(f'the store is "{url}", which keeps nothing; expected sqlite:///FILE')
    options: dict[str, Any] = {
        "poolclass": StaticPool,
        "connect_args": {"check_same_thread": False, "timeout": BUSY_SECONDS},
    }
    engine = create_engine(url, **options)

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        # Exclusive: one server for each file. Full: a commit that was answered is on the disk.
        for pragma in ("locking_mode=EXCLUSIVE", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def prepare(connection: Connection, url: str) -> None:
    """Makes the tables of a new database, all or none; raises StoreError if an old one is not ours to write."""
    there = {*inspect(connection).get_table_names(), *inspect(connection).get_view_names()}
    if there and not there.issuperset({schema.schema.name, schema.npcs.name}):
        shown = sorted(there)[:3]
        raise StoreError(f"the store {url} is a database of another program, it holds {shown}; use another file")
    # Not before: it writes to the file.
    if connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar() != "wal":
        raise StoreError(f'the store is "{url}", which SQLite does not keep in a file of its own; use sqlite:///FILE')
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # else each table would be a transaction of its own
    if not there:
        schema.metadata.create_all(connection)
        connection.execute(insert(schema.schema).values(version=schema.VERSION))
    found = connection.execute(select(schema.schema.c.version)).scalar()
    if found != schema.VERSION:
        raise StoreError(f"the store {url} has schema version {found}, expected {schema.VERSION}; use its own npcmeta")
