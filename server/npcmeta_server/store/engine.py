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
        for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


def prepare(connection: Connection, url: str) -> None:
    """Makes the tables of a new database, all or none; raises StoreError if an old one is not ours to write."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # else each table would be a transaction of its own
    tables = inspect(connection).get_table_names()
    if tables and schema.schema.name not in tables:
        raise StoreError(f"the store {url} is a database of another program, it holds {tables[:3]}; use another file")
    schema.metadata.create_all(connection)
    found = connection.execute(select(schema.schema.c.version)).scalar()
    if found is None:
        connection.execute(insert(schema.schema).values(version=schema.VERSION))
    elif found != schema.VERSION:
        raise StoreError(f"the store {url} has schema version {found}, expected {schema.VERSION}; use its own npcmeta")
