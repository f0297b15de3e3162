"""Databases of older versions are led to this one, as a whole or not at all; those of newer ones are refused."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from npcmeta_server.store import RequestKey, Store, StoreError, schema, versions
from tests.server.store.conftest import ask
from tests.server.store.rows import ANY, commit_of
from tests.server.store.test_store_faults import environment

DIE = """
import os, signal, sys
from npcmeta_server.store import Store, versions
def dying(version, database, told=versions.statements):
    for number, statement in enumerate(told(version, database)):
        if number == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        yield statement
    os.kill(os.getpid(), signal.SIGKILL)
versions.statements = dying
Store(sys.argv[1])
"""


@pytest.fixture
def old(url: str) -> str:
    """A database as version 1 wrote it."""
    kind = url.partition(":")[0].partition("+")[0]
    script = (Path(__file__).parent / "versions" / f"1.{kind}.sql").read_text()
    ask(url, *filter(None, (part.strip() for part in script.split(";\n"))))
    return url


def shape(url: str) -> dict[str, object]:
    """Tables with their columns, keys and indexes."""
    engine = create_engine(url)
    look = inspect(engine)
    found: dict[str, object] = {}
    for table in sorted(look.get_table_names()):
        columns = [(c["name"], str(c["type"]), c["nullable"]) for c in look.get_columns(table)]
        indexes = sorted(str((i["name"], i["column_names"], i["unique"])) for i in look.get_indexes(table))
        foreign = sorted(
            str((f["constrained_columns"], f["referred_table"], f["options"])) for f in look.get_foreign_keys(table)
        )
        unique = sorted(str(u["column_names"]) for u in look.get_unique_constraints(table))
        found[table] = (sorted(columns), look.get_pk_constraint(table)["constrained_columns"], indexes, foreign, unique)
    engine.dispose()
    return found


def test_everything_in_a_database_of_version_1_is_there_afterwards(old: str) -> None:
    with contextlib.closing(Store(old)) as store:
        amy, revision, state = store.state("amy")
        assert (amy.seed, amy.display_name, amy.create_time) == ((1 << 64) - 1, "Amy", 1700000000.25)
        assert (revision.number, revision.support_nll, state) == (2, 0.25, b"adapted amy")
        assert store.state("amy", 1)[2] == b"state of amy"
        assert store.support("amy") == [b"stored clip"]
        assert store.support("bob") == [b"stored clip", b"clip", b"clip"]
        assert [clip.examples for clip in store.demonstrations("bob", "", 9)] == [5, 2]
        again = store.committed("bob", RequestKey("Adapt:1", "d3"))
        assert again is not None
        assert again[0].number == 2
        assert store.commit(commit_of(store, "bob"), ANY)[0].number == 3
        store.delete_npc("amy", "")
        assert store.support("bob") == [b"clip", b"clip", b"clip"]


def test_it_has_the_tables_of_a_new_one(old: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    fresh = f"sqlite:///{tmp_path / 'fresh.db'}"
    if not old.startswith("sqlite"):
        fresh = request.getfixturevalue("cluster").new_database()
    for url in (old, fresh):
        Store(url).close()
    assert shape(old) == shape(fresh)
    assert ask(old, "select version from schema") == [(schema.VERSION,)]


@pytest.mark.parametrize("step", [0, 1, 9, 99])
def test_a_server_that_dies_on_the_way_leaves_the_old_version_whole(old: str, step: int) -> None:
    before = shape(old), ask(old, "select id, etag from npcs order by id")
    died = subprocess.run([sys.executable, "-c", DIE, old, str(step)], env=environment(), timeout=120)
    assert died.returncode == -signal.SIGKILL
    assert (shape(old), ask(old, "select id, etag from npcs order by id")) == before
    assert ask(old, "select version from schema") == [(1,)]
    with contextlib.closing(Store(old)) as store:
        assert store.state("bob")[2] == b"adapted bob"


@pytest.mark.parametrize("version", [0, 99])
def test_a_version_that_nobody_here_knows_is_refused_and_left_alone(url: str, version: int) -> None:
    Store(url).close()
    ask(url, f"update schema set version = {version}")
    with pytest.raises(StoreError, match=f"schema version {version}, expected 1 to {schema.VERSION}; serve it with"):
        Store(url)
    assert ask(url, "select version from schema") == [(version,)]


def test_every_version_has_its_steps_for_every_database() -> None:
    wanted = {f"{version}.{kind}.sql" for version in range(2, schema.VERSION + 1) for kind in ("sqlite", "postgresql")}
    assert {path.name for path in versions.STEPS.iterdir()} == wanted
