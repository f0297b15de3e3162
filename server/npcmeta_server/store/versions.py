"""The version of what is in a database, and the tables of a new one."""

from __future__ import annotations

from sqlalchemy import Connection, insert, inspect, select

from npcmeta_server.store import archetypes, schema
from npcmeta_server.store.urls import StoreError


def is_ours(connection: Connection, store: str) -> bool:
    """Whether there are tables of ours; raises StoreError if there are others', which are not ours to write."""
    there = {*inspect(connection).get_table_names(), *inspect(connection).get_view_names()}
    if there and not there.issuperset({schema.schema.name, schema.npcs.name}):
        shown = sorted(there)[:3]
        raise StoreError(f"the store {store} is a database of another program, it holds {shown}; use another one")
    return bool(there)


def prepare(connection: Connection, store: str) -> None:
    """Makes the tables of a new database, all or none; raises StoreError if an old one is not ours to write."""
    is_new = not is_ours(connection, store)
    # In a database that is ours as well: tables that came since, which older servers ignore.
    archetypes.archetypes.metadata.create_all(connection)
    if is_new:
        connection.execute(insert(schema.schema).values(version=schema.VERSION))
    found = connection.execute(select(schema.schema.c.version)).scalar()
    if found != schema.VERSION:
        raise StoreError(
            f"the store {store} has schema version {found}, expected {schema.VERSION}; use its own npcmeta"
        )
