"""The store on a SQL database, through SQLAlchemy. Every public method is one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    Connection,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from npcmeta_server.errors import ServiceError
from npcmeta_server.limits import MAX_NPCS
from npcmeta_server.store import schema
from npcmeta_server.store.engine import StoreError, open_engine, prepare
from npcmeta_server.store.rows import CommitRequest, DemonstrationRow, NpcRow, RequestKey, RevisionRow
from npcmeta_server.store.statements import (
    insert_demonstration,
    insert_revision,
    is_demonstration,
    npc_row,
    remember,
    repeated,
    revision_row,
    same_life,
    source_keys,
)


class Store:
    """NPCs, demonstrations and revisions. One thread at a time may use it; what a method returned from is on disk."""

    def __init__(self, url: str, max_npcs: int = MAX_NPCS) -> None:
        """Opens the database at a SQLAlchemy URL, and makes its tables if there are none.

        It takes at most `max_npcs`; where several servers write to one database, each counts what itself does.

        Raises:
            StoreError: If it cannot be opened, is in use by another server, or was written by another version.
        """
        try:
            self._engine = open_engine(url)
            try:
                with self._engine.begin() as connection:
                    prepare(connection, url)
                    self._num_npcs = connection.execute(select(func.count()).select_from(schema.npcs)).scalar_one()
            except BaseException:
                self._engine.dispose()  # lets go of the file
                raise
        except (SQLAlchemyError, ValueError) as error:  # the latter: an option of the URL that cannot be read
            cause = getattr(error, "orig", None) or error
            hint = "is another server using it?" if "locked" in str(cause) else "does its folder exist, and is it ours?"
            raise StoreError(f"the store {url} cannot be opened: {cause}; {hint}") from error
        self._max_npcs = max_npcs

    @property
    def num_npcs(self) -> int:
        """How many NPCs there are, as far as this server knows."""
        return self._num_npcs

    def close(self) -> None:
        """Closes the database."""
        self._engine.dispose()

    def create_npc(
        self, npc: NpcRow, archetype_revision: str, state: bytes, request: RequestKey
    ) -> tuple[NpcRow, bool]:
        """Stores a new NPC with its unadapted state as revision 1; returns it, and whether it is new."""
        with self._transaction() as connection:
            if (before := repeated(connection, request)) is not None:
                return same_life(self._npc(connection, before["npc"]), before), False
            if connection.execute(select(schema.npcs.c.id).where(schema.npcs.c.id == npc.id)).first():
                raise ServiceError("NPC_EXISTS", f"npcs/{npc.id} exists; choose another npc_id", npc=npc.id)
            if self._num_npcs >= self._max_npcs:
                raise ServiceError(
                    "TOO_MANY",
                    f"the store has {self._num_npcs} NPCs, expected at most {self._max_npcs}; delete some, or serve "
                    "with a larger --max-npcs",
                    limit=self._max_npcs,
                )
            connection.execute(insert(schema.npcs).values(**npc._asdict() | {"seed": str(npc.seed)}))
            first = {"npc": npc.id, "number": 1, "archetype": npc.archetype, "archetype_revision": archetype_revision}
            first |= {"examples": 0, "support_nll": 0.0, "create_time": npc.create_time, "state": state}
            connection.execute(insert(schema.revisions).values(**first))
            remember(connection, request, {"npc": npc.id, "create_time": npc.create_time})
        self._num_npcs += 1
        return npc, True

    def npc(self, npc: str) -> NpcRow:
        """An NPC, or NPC_NOT_FOUND."""
        with self._transaction() as connection:
            return self._npc(connection, npc)

    def npcs(self, archetype: str, after: str, limit: int) -> list[NpcRow]:
        """NPCs (of an archetype, if it is not empty) in order of id, those behind `after`."""
        query = select(schema.npcs).where(schema.npcs.c.id > after).order_by(schema.npcs.c.id).limit(limit)
        if archetype:
            query = query.where(schema.npcs.c.archetype == archetype)
        with self._transaction() as connection:
            return [npc_row(row) for row in connection.execute(query).mappings()]

    def delete_npc(self, npc: str, etag: str) -> None:
        """Deletes an NPC with all that belongs to it; only with this etag, if it is not empty."""
        with self._transaction() as connection:
            row = self._npc(connection, npc)
            if etag and etag != row.etag:
                raise ServiceError(
                    "ETAG_MISMATCH", f'npcs/{npc} has etag "{row.etag}", the request says "{etag[:64]}"; get it again'
                )
            connection.execute(delete(schema.npcs).where(schema.npcs.c.id == npc))
        self._num_npcs -= 1

    def state(self, npc: str) -> tuple[NpcRow, RevisionRow, bytes]:
        """An NPC, the revision that acts, and its state."""
        with self._transaction() as connection:
            row = self._npc(connection, npc)
            at = (schema.revisions.c.npc == npc) & (schema.revisions.c.number == row.revision)
            revision = connection.execute(select(schema.revisions).where(at)).mappings().one()
            return row, revision_row(revision), revision["state"]

    def states(self, npcs: Sequence[str]) -> dict[str, tuple[NpcRow, RevisionRow, bytes]]:
        """NPCs, the revision that acts of each, and its state; those that there are."""
        joined = schema.npcs.join(
            schema.revisions,
            (schema.revisions.c.npc == schema.npcs.c.id) & (schema.revisions.c.number == schema.npcs.c.revision),
        )
        query = select(schema.npcs, *(c.label(f"acting_{c.name}") for c in schema.revisions.c)).select_from(joined)
        with self._transaction() as connection:
            rows = connection.execute(query.where(schema.npcs.c.id.in_(npcs))).mappings().all()
        return {row["id"]: (npc_row(row), revision_row(row, "acting_"), row["acting_state"]) for row in rows}

    def revisions(self, npc: str, before: int, limit: int) -> list[RevisionRow]:
        """An NPC's revisions, newest first, those with a number below `before`."""
        columns = [column for column in schema.revisions.c if column.name != "state"]
        at = (schema.revisions.c.npc == npc) & (schema.revisions.c.number < before)
        query = select(*columns).where(at).order_by(schema.revisions.c.number.desc()).limit(limit)
        with self._transaction() as connection:
            self._npc(connection, npc)
            return [revision_row(row) for row in connection.execute(query).mappings()]

    def add_demonstration(self, npc: str, data: bytes, examples: int, request: RequestKey) -> DemonstrationRow:
        """Stores a clip."""
        with self._transaction() as connection:
            self._npc(connection, npc)
            if (before := repeated(connection, request)) is not None:
                return self._demonstration(connection, npc, before["demonstration"])
            row, _ = insert_demonstration(connection, npc, data, examples)
            remember(connection, request, {"demonstration": row.id})
            return row

    def demonstrations(self, npc: str, after: str, limit: int) -> list[DemonstrationRow]:
        """An NPC's clips in order of id, those behind `after`."""
        table = schema.demonstrations
        columns = [table.c[name] for name in DemonstrationRow._fields]
        query = select(*columns).where((table.c.npc == npc) & (table.c.id > after)).order_by(table.c.id).limit(limit)
        with self._transaction() as connection:
            self._npc(connection, npc)
            return [DemonstrationRow(**row) for row in connection.execute(query).mappings()]

    def demonstration_data(self, npc: str, demonstration: str) -> bytes:
        """The data of a clip, or DEMONSTRATION_NOT_FOUND."""
        with self._transaction() as connection:
            self._demonstration(connection, npc, demonstration)
            data: bytes = connection.execute(
                select(schema.demonstrations.c.data).where(is_demonstration(npc, demonstration))
            ).scalar_one()
            return data

    def delete_demonstration(self, npc: str, demonstration: str) -> None:
        """Deletes a clip; revisions adapted from it stay."""
        with self._transaction() as connection:
            self._demonstration(connection, npc, demonstration)
            connection.execute(delete(schema.demonstrations).where(is_demonstration(npc, demonstration)))

    def support(self, npc: str) -> list[bytes]:
        """The clips that the acting revision was adapted from and that still exist, oldest first."""
        with self._transaction() as connection:
            row, table = self._npc(connection, npc), schema.demonstrations
            at = (schema.revisions.c.npc == npc) & (schema.revisions.c.number == row.revision)
            joined = table.join(schema.sources).join(
                schema.revisions, schema.sources.c.revision == schema.revisions.c.key
            )
            query = select(table.c.data).select_from(joined).where(at).order_by(table.c.key)
            return list(connection.execute(query).scalars())

    def commit(self, wanted: CommitRequest, request: RequestKey) -> tuple[RevisionRow, list[str]]:
        """Writes a revision, its new clips and the NPC's pointer; returns it and the new clips' ids."""
        with self._transaction() as connection:
            if (before := repeated(connection, request)) is not None:
                return self._committed(connection, wanted.npc, before)
            npc = self._npc(connection, wanted.npc)
            if npc.etag != wanted.expected_etag:
                raise ServiceError("ETAG_MISMATCH", f"npcs/{npc.id} was changed meanwhile; adapt it again")
            keys = dict.fromkeys([] if wanted.from_scratch else source_keys(connection, npc.id, npc.revision))
            made = [insert_demonstration(connection, npc.id, data, count) for data, count in wanted.clips]
            for pair in wanted.demonstrations:
                key = self._demonstration_key(connection, *pair)
                if key in keys:  # counted twice now, it would be counted once by the next adaptation
                    raise ServiceError(
                        "INVALID_ARGUMENT",
                        f"npcs/{'/demonstrations/'.join(pair)} is among the examples of npcs/{npc.id} already, nothing "
                        "was changed; name a demonstration once, or adapt from_scratch",
                        field="demonstration",
                    )
                keys[key] = None
            revision = insert_revision(connection, npc, wanted, [*keys, *(key for _, key in made)])
            ids = [row.id for row, _ in made]
            made_it = {"number": revision.number, "create_time": revision.create_time, "demonstrations": ids}
            remember(connection, request, made_it)
            return revision, ids

    def committed(self, npc: str, request: RequestKey) -> tuple[RevisionRow, list[str]] | None:
        """What a commit under this request id gave, if there was one."""
        with self._transaction() as connection:
            before = repeated(connection, request)
            return None if before is None else self._committed(connection, npc, before)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise ServiceError("STORE_UNAVAILABLE", f"the store failed: {cause}; nothing was changed") from error

    def _npc(self, connection: Connection, npc: str) -> NpcRow:
        row = connection.execute(select(schema.npcs).where(schema.npcs.c.id == npc)).mappings().first()
        if row is None:
            raise ServiceError("NPC_NOT_FOUND", f"there is no npcs/{npc}; create it first", npc=npc)
        return npc_row(row)

    def _revision(self, connection: Connection, npc: str, number: int) -> RevisionRow:
        at = (schema.revisions.c.npc == npc) & (schema.revisions.c.number == number)
        row = connection.execute(select(schema.revisions).where(at)).mappings().first()
        if row is None:
            raise ServiceError("NPC_NOT_FOUND", f"there is no npcs/{npc}/revisions/{number} any more", npc=npc)
        return revision_row(row)

    def _committed(self, connection: Connection, npc: str, before: dict[str, Any]) -> tuple[RevisionRow, list[str]]:
        return same_life(self._revision(connection, npc, before["number"]), before), before["demonstrations"]

    def _demonstration(self, connection: Connection, npc: str, demonstration: str) -> DemonstrationRow:
        columns = [schema.demonstrations.c[name] for name in DemonstrationRow._fields]
        row = connection.execute(select(*columns).where(is_demonstration(npc, demonstration))).mappings().first()
        if row is None:
            name = f"npcs/{npc}/demonstrations/{demonstration}"
            raise ServiceError("DEMONSTRATION_NOT_FOUND", f"there is no {name}", npc=npc, demonstration=demonstration)
        return DemonstrationRow(**row)

    def _demonstration_key(self, connection: Connection, npc: str, demonstration: str) -> int:
        self._demonstration(connection, npc, demonstration)
        query = select(schema.demonstrations.c.key).where(is_demonstration(npc, demonstration))
        key: int = connection.execute(query).scalar_one()
        return key
