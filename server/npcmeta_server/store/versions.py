"""The version of what is in a database: the tables of a new one, and the steps that an older one takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, insert, inspect, select, update

from npcmeta_server.store import schema, upgrades
from npcmeta_server.store.urls import StoreError

STEPS = Path(__file__).parent / "steps"
"""For each version behind the first and each kind of database, what leads there from the version before."""


def is_ours(connection: Connection, store: str) -> bool:
    """Whether there are tables of ours; raises StoreError if there are others', which are not ours to write."""
    there = {*inspect(connection).get_table_names(), *inspect(connection).get_view_names()}
    if there and not there.issuperset({schema.schema.name, schema.npcs.name}):
        shown = sorted(there)[:3]
        raise StoreError(f"the store {store} is a database of another program, it holds {shown}; use another one")
    return bool(there)


def prepare(connection: Connection, store: str) -> None:
    """Makes the tables of a new database, or leads an older one to this version: all in one transaction or nothing.

    Raises:
        StoreError: If a newer version wrote it.
    """
    if not is_ours(connection, store):
        upgrades.upgrades.metadata.create_all(connection)  # with all tables of the store
        connection.execute(insert(schema.schema).values(version=schema.VERSION))
    found = connection.execute(select(schema.schema.c.version)).scalar() or 0
    if not 0 < found <= schema.VERSION:
        raise StoreError(
            f"the store {store} has schema version {found}, expected 1 to {schema.VERSION}; serve it with the npcmeta "
            "that wrote it, or a later one"
        )
    for version in range(found + 1, schema.VERSION + 1):
        for statement in statements(version, connection.dialect.name):
            connection.exec_driver_sql(statement)
        connection.execute(update(schema.schema).values(version=version))


def statements(version: int, database: str) -> Iterator[str]:
    """The statements that lead to a version from the one before."""
    text = (STEPS / f"{version}.{database}.sql").read_text()
    yield from filter(None, (part.strip() for part in text.split(";\n")))
