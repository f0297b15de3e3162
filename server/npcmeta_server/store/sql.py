"""The store on a SQL database, through SQLAlchemy. Every public method is one transaction."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    CursorResult,
    RowMapping,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import schema
from npcmeta_server.store.engine import StoreError, open_engine, prepare
from npcmeta_server.store.rows import CommitRequest, DemonstrationRow, NpcRow, RequestKey, RevisionRow

R = TypeVar("R", NpcRow, RevisionRow)


class Store:
    """NPCs, demonstrations and revisions. One thread at a time may use it; what a method returned from is on disk."""

    def __init__(self, url: str) -> None:
        """Opens the database at a SQLAlchemy URL, and makes its tables if there are none.

        Raises:
            StoreError: If it cannot be opened, is in use by another server, or was written by another version.
        """
        try:
            self._engine = open_engine(url)
            try:
                with self._engine.begin() as connection:
                    prepare(connection, url)
            except BaseException:
                self._engine.dispose()  # lets go of the file
                raise
        except (SQLAlchemyError, ValueError) as error:  # the latter: an option of the URL that cannot be read
            cause = getattr(error, "orig", None) or error
            hint = "is another server using it?" if "locked" in str(cause) else "does its folder exist, and is it ours?"
            raise StoreError(f"the store {url} cannot be opened: {cause}; {hint}") from error

    def close(self) -> None:
        """Closes the database."""
        self._engine.dispose()

    def create_npc(
        self, npc: NpcRow, archetype_revision: str, state: bytes, request: RequestKey
    ) -> tuple[NpcRow, bool]:
        """Stores a new NPC with its unadapted state as revision 1; returns it, and whether it is new."""
        with self._transaction() as connection:
            if (before := _repeated(connection, request)) is not None:
                return _same_life(self._npc(connection, before["npc"]), before), False
            if connection.execute(select(schema.npcs.c.id).where(schema.npcs.c.id == npc.id)).first():
                raise ServiceError("NPC_EXISTS", f"npcs/{npc.id} exists; choose another npc_id", npc=npc.id)
            connection.execute(insert(schema.npcs).values(**npc._asdict() | {"seed": str(npc.seed)}))
            first = {"npc": npc.id, "number": 1, "archetype": npc.archetype, "archetype_revision": archetype_revision}
            first |= {"examples": 0, "support_nll": 0.0, "create_time": npc.create_time, "state": state}
            connection.execute(insert(schema.revisions).values(**first))
            _remember(connection, request, {"npc": npc.id, "create_time": npc.create_time})
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
            return [_npc_row(row) for row in connection.execute(query).mappings()]

    def delete_npc(self, npc: str, etag: str) -> None:
        """Deletes an NPC with all that belongs to it; only with this etag, if it is not empty."""
        with self._transaction() as connection:
            row = self._npc(connection, npc)
            if etag and etag != row.etag:
                raise ServiceError(
                    "ETAG_MISMATCH", f'npcs/{npc} has etag "{row.etag}", the request says "{etag[:64]}"; get it again'
                )
            connection.execute(delete(schema.npcs).where(schema.npcs.c.id == npc))

    def state(self, npc: str) -> tuple[NpcRow, RevisionRow, bytes]:
        """An NPC, the revision that acts, and its state."""
        with self._transaction() as connection:
            row = self._npc(connection, npc)
            at = (schema.revisions.c.npc == npc) & (schema.revisions.c.number == row.revision)
            revision = connection.execute(select(schema.revisions).where(at)).mappings().one()
            return row, _revision_row(revision), revision["state"]

    def states(self, npcs: Sequence[str]) -> dict[str, tuple[NpcRow, RevisionRow, bytes]]:
        """NPCs, the revision that acts of each, and its state; those that there are."""
        joined = schema.npcs.join(
            schema.revisions,
            (schema.revisions.c.npc == schema.npcs.c.id) & (schema.revisions.c.number == schema.npcs.c.revision),
        )
        query = select(schema.npcs, *(c.label(f"acting_{c.name}") for c in schema.revisions.c)).select_from(joined)
        with self._transaction() as connection:
            rows = connection.execute(query.where(schema.npcs.c.id.in_(npcs))).mappings().all()
        return {row["id"]: (_npc_row(row), _revision_row(row, "acting_"), row["acting_state"]) for row in rows}

    def revisions(self, npc: str, before: int, limit: int) -> list[RevisionRow]:
        """An NPC's revisions, newest first, those with a number below `before`."""
        columns = [column for column in schema.revisions.c if column.name != "state"]
        at = (schema.revisions.c.npc == npc) & (schema.revisions.c.number < before)
        query = select(*columns).where(at).order_by(schema.revisions.c.number.desc()).limit(limit)
        with self._transaction() as connection:
            self._npc(connection, npc)
            return [_revision_row(row) for row in connection.execute(query).mappings()]

    def add_demonstration(self, npc: str, data: bytes, examples: int, request: RequestKey) -> DemonstrationRow:
        """Stores a clip."""
        with self._transaction() as connection:
            self._npc(connection, npc)
            if (before := _repeated(connection, request)) is not None:
                return self._demonstration(connection, npc, before["demonstration"])
            row, _ = _insert_demonstration(connection, npc, data, examples)
            _remember(connection, request, {"demonstration": row.id})
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
                select(schema.demonstrations.c.data).where(_is_demonstration(npc, demonstration))
            ).scalar_one()
            return data

    def delete_demonstration(self, npc: str, demonstration: str) -> None:
        """Deletes a clip; revisions adapted from it stay."""
        with self._transaction() as connection:
            self._demonstration(connection, npc, demonstration)
            connection.execute(delete(schema.demonstrations).where(_is_demonstration(npc, demonstration)))

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
            if (before := _repeated(connection, request)) is not None:
                return self._committed(connection, wanted.npc, before)
            npc = self._npc(connection, wanted.npc)
            if npc.etag != wanted.expected_etag:
                raise ServiceError("ETAG_MISMATCH", f"npcs/{npc.id} was changed meanwhile; adapt it again")
            keys = dict.fromkeys([] if wanted.from_scratch else _source_keys(connection, npc.id, npc.revision))
            made = [_insert_demonstration(connection, npc.id, data, count) for data, count in wanted.clips]
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
            revision = _insert_revision(connection, npc, wanted, [*keys, *(key for _, key in made)])
            ids = [row.id for row, _ in made]
            made_it = {"number": revision.number, "create_time": revision.create_time, "demonstrations": ids}
            _remember(connection, request, made_it)
            return revision, ids

    def committed(self, npc: str, request: RequestKey) -> tuple[RevisionRow, list[str]] | None:
        """What a commit under this request id gave, if there was one."""
        with self._transaction() as connection:
            before = _repeated(connection, request)
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
        return _npc_row(row)

    def _revision(self, connection: Connection, npc: str, number: int) -> RevisionRow:
        at = (schema.revisions.c.npc == npc) & (schema.revisions.c.number == number)
        row = connection.execute(select(schema.revisions).where(at)).mappings().first()
        if row is None:
            raise ServiceError("NPC_NOT_FOUND", f"there is no npcs/{npc}/revisions/{number} any more", npc=npc)
        return _revision_row(row)

    def _committed(self, connection: Connection, npc: str, before: dict[str, Any]) -> tuple[RevisionRow, list[str]]:
        return _same_life(self._revision(connection, npc, before["number"]), before), before["demonstrations"]

    def _demonstration(self, connection: Connection, npc: str, demonstration: str) -> DemonstrationRow:
        columns = [schema.demonstrations.c[name] for name in DemonstrationRow._fields]
        row = connection.execute(select(*columns).where(_is_demonstration(npc, demonstration))).mappings().first()
        if row is None:
            name = f"npcs/{npc}/demonstrations/{demonstration}"
            raise ServiceError("DEMONSTRATION_NOT_FOUND", f"there is no {name}", npc=npc, demonstration=demonstration)
        return DemonstrationRow(**row)

    def _demonstration_key(self, connection: Connection, npc: str, demonstration: str) -> int:
        self._demonstration(connection, npc, demonstration)
        query = select(schema.demonstrations.c.key).where(_is_demonstration(npc, demonstration))
        key: int = connection.execute(query).scalar_one()
        return key


def new_etag() -> str:
    """A fresh etag."""
    return secrets.token_hex(8)


def _repeated(connection: Connection, request: RequestKey) -> dict[str, Any] | None:
    """What the first try of this request gave."""
    if not request.id:
        return None
    query = select(schema.requests).where(schema.requests.c.id == request.id)
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    if row["digest"] != request.digest:
        raise ServiceError(
            "REQUEST_ID_REUSED", "this request_id was used for another request; choose a fresh one for each request"
        )
    result: dict[str, Any] = json.loads(row["result"])
    return result


def _same_life(found: R, before: dict[str, Any]) -> R:
    """What a first try made, if it is that and not what a later NPC of the same name has in its place."""
    if found.create_time != before["create_time"]:
        raise ServiceError("NPC_NOT_FOUND", "what the first request of this request_id made was deleted since then")
    return found


def _remember(connection: Connection, request: RequestKey, result: dict[str, Any]) -> None:
    if request.id:
        values = {"id": request.id, "digest": request.digest, "result": json.dumps(result)}
        connection.execute(insert(schema.requests).values(**values))


def _insert_demonstration(connection: Connection, npc: str, data: bytes, examples: int) -> tuple[DemonstrationRow, int]:
    # Ids that begin with the time sort by age, whatever made them.
    row = DemonstrationRow(npc, f"{time.time_ns():x}-{secrets.token_hex(3)}", examples, time.time())
    result = connection.execute(insert(schema.demonstrations).values(**row._asdict(), data=data))
    return row, _inserted(result)


def _inserted(result: CursorResult[Any]) -> int:
    """The key of the row that was inserted."""
    assert result.inserted_primary_key is not None
    key: int = result.inserted_primary_key[0]
    return key


def _insert_revision(connection: Connection, npc: NpcRow, wanted: CommitRequest, sources: list[int]) -> RevisionRow:
    row = RevisionRow(
        npc.id, npc.revision + 1, npc.archetype, wanted.archetype_revision, wanted.examples, wanted.support_nll,
        time.time(),
    )  # fmt: skip
    key = _inserted(connection.execute(insert(schema.revisions).values(**row._asdict(), state=wanted.state)))
    if sources:
        links = [{"revision": key, "demonstration": source} for source in sources]
        connection.execute(insert(schema.sources), links)
    moved = {"revision": row.number, "examples": row.examples, "update_time": row.create_time, "etag": new_etag()}
    connection.execute(update(schema.npcs).where(schema.npcs.c.id == npc.id).values(**moved))
    return row


def _source_keys(connection: Connection, npc: str, number: int) -> list[int]:
    at = (schema.revisions.c.npc == npc) & (schema.revisions.c.number == number)
    query = select(schema.sources.c.demonstration).join(schema.revisions).where(at)
    return list(connection.execute(query).scalars())


def _is_demonstration(npc: str, demonstration: str) -> Any:
    return (schema.demonstrations.c.npc == npc) & (schema.demonstrations.c.id == demonstration)


def _npc_row(row: RowMapping) -> NpcRow:
    return NpcRow(**{field: row[field] for field in NpcRow._fields} | {"seed": int(row["seed"])})


def _revision_row(row: RowMapping, prefix: str = "") -> RevisionRow:
    return RevisionRow(**{field: row[prefix + field] for field in RevisionRow._fields})
