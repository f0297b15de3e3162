"""Every test of the store runs on each database that it may be kept in."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from npcmeta_server.store import Store
from tests.server.store.rows import ANY, STATE, npc_row


def ask(url: str, *statements: str) -> Sequence[tuple[object, ...]]:
    """What the last of these statements gives, as another program would ask for it."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            for statement in statements:
                found = connection.exec_driver_sql(statement)
            return [tuple(row) for row in found] if found.returns_rows else []
    finally:
        engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new store may be made."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'npcs.db'}"
    made: str = request.getfixturevalue("cluster").new_database()
    return made


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An open store with one NPC, bob."""
    with contextlib.closing(Store(url)) as opened:
        opened.create_npc(npc_row("bob"), "abc", STATE, ANY)
        yield opened
