"""Tables of the store, and the version of their schema."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    CursorResult,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

VERSION = 2
"""Whoever changes a table raises it, and writes for each database in `steps/` what leads there from the one before."""

metadata = MetaData()

Id = String(63).with_variant(String(63, collation="C"), "postgresql")
"""Ids come in the same order whatever language a database speaks."""
Text = String(120).with_variant(String(120, collation="C"), "postgresql")
"""Its lower case is that of a to z, as with SQLite."""
Number = Integer().with_variant(BigInteger(), "postgresql")

schema = Table("schema", metadata, Column("version", Integer, primary_key=True))

npcs = Table(
    "npcs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("archetype", String(63), nullable=False),
    Column("display_name", Text, nullable=False),
    Column("seed", String(20), nullable=False),  # text: an unsigned 64-bit number fits no SQL integer
    Column("revision", Number, nullable=False),
    Column("examples", Integer, nullable=False),
    Column("create_time", Float, nullable=False),
    Column("update_time", Float, nullable=False),
    Column("etag", String(32), nullable=False),
    Index("ix_npcs_archetype_id", "archetype", "id"),
)

blobs = Table(
    "blobs",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),  # SHA-256 of the data: equal data is kept once
    Column("data", LargeBinary, nullable=False),
)

demonstrations = Table(
    "demonstrations",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("npc", ForeignKey("npcs.id", ondelete="CASCADE"), nullable=False),
    Column("id", Id, nullable=False),
    Column("examples", Integer, nullable=False),
    Column("create_time", Float, nullable=False),
    Column("blob", ForeignKey("blobs.key"), nullable=False, index=True),
    UniqueConstraint("npc", "id"),
)

revisions = Table(
    "revisions",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("npc", ForeignKey("npcs.id", ondelete="CASCADE"), nullable=False),
    Column("number", Number, nullable=False),
    Column("archetype", String(63), nullable=False),
    Column("archetype_revision", String(64), nullable=False),
    Column("examples", Integer, nullable=False),
    Column("support_nll", Float, nullable=False),
    Column("create_time", Float, nullable=False),
    Column("blob", ForeignKey("blobs.key"), nullable=False, index=True),
    UniqueConstraint("npc", "number"),
)

sources = Table(
    "sources",
    metadata,
    Column("revision", ForeignKey("revisions.key", ondelete="CASCADE"), primary_key=True),
    # The index is for those that are deleted with their demonstration.
    Column("demonstration", ForeignKey("demonstrations.key", ondelete="CASCADE"), primary_key=True, index=True),
)

requests = Table(
    "requests",
    metadata,
    Column("key", Integer, primary_key=True),  # later ones have higher keys
    Column("id", String(160), nullable=False, unique=True),
    Column("digest", String(64), nullable=False),
    Column("result", String, nullable=False),
    Column("create_time", Float, nullable=False),
)


def inserted(result: CursorResult[Any]) -> int:
    """The key of the row that was inserted."""
    assert result.inserted_primary_key is not None
    key: int = result.inserted_primary_key[0]
    return key
