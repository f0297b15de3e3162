"""The store on a SQL database, through SQLAlchemy. Every public method is one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from npcmeta_server.errors import ServiceError
from npcmeta_server.limits import MAX_NPCS
from npcmeta_server.store import demonstrations, npcs, revisions, schema
from npcmeta_server.store.engine import StoreError, open_engine, prepare
from npcmeta_server.store.rows import CommitRequest, DemonstrationRow, NpcRow, RequestKey, RevisionRow


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
            if (before := npcs.created(connection, request)) is not None:
                return before, False
            npcs.create(connection, npc, archetype_revision, state, request)
            self._check_room()
        self._num_npcs += 1
        return npc, True

    def npc(self, npc: str) -> NpcRow:
        """An NPC, or NPC_NOT_FOUND."""
        with self._transaction() as connection:
            return npcs.find(connection, npc)

    def npcs(self, archetype: str, after: str, limit: int) -> list[NpcRow]:
        """NPCs (of an archetype, if it is not empty) in order of id, those behind `after`."""
        with self._transaction() as connection:
            return npcs.page(connection, archetype, after, limit)

    def delete_npc(self, npc: str, etag: str) -> None:
        """Deletes an NPC with all that belongs to it; only with this etag, if it is not empty."""
        with self._transaction() as connection:
            npcs.remove(connection, npc, etag)
        self._num_npcs -= 1

    def state(self, npc: str) -> tuple[NpcRow, RevisionRow, bytes]:
        """An NPC, the revision that acts, and its state."""
        with self._transaction() as connection:
            return revisions.state(connection, npc)

    def states(self, npcs: Sequence[str]) -> dict[str, tuple[NpcRow, RevisionRow, bytes]]:
        """NPCs, the revision that acts of each, and its state; those that there are."""
        with self._transaction() as connection:
            return revisions.states(connection, npcs)

    def revisions(self, npc: str, before: int, limit: int) -> list[RevisionRow]:
        """An NPC's revisions, newest first, those with a number below `before`."""
        with self._transaction() as connection:
            return revisions.page(connection, npc, before, limit)

    def add_demonstration(self, npc: str, data: bytes, examples: int, request: RequestKey) -> DemonstrationRow:
        """Stores a clip."""
        with self._transaction() as connection:
            return demonstrations.create(connection, npc, data, examples, request)

    def demonstrations(self, npc: str, after: str, limit: int) -> list[DemonstrationRow]:
        """An NPC's clips in order of id, those behind `after`."""
        with self._transaction() as connection:
            return demonstrations.page(connection, npc, after, limit)

    def demonstration_data(self, npc: str, demonstration: str) -> bytes:
        """The data of a clip, or DEMONSTRATION_NOT_FOUND."""
        with self._transaction() as connection:
            return demonstrations.data(connection, npc, demonstration)

    def delete_demonstration(self, npc: str, demonstration: str) -> None:
        """Deletes a clip; revisions adapted from it stay."""
        with self._transaction() as connection:
            demonstrations.remove(connection, npc, demonstration)

    def support(self, npc: str) -> list[bytes]:
        """The clips that the acting revision was adapted from and that still exist, oldest first."""
        with self._transaction() as connection:
            return revisions.support(connection, npc)

    def commit(self, wanted: CommitRequest, request: RequestKey) -> tuple[RevisionRow, list[str]]:
        """Writes a revision, its new clips and the NPC's pointer; returns it and the new clips' ids."""
        with self._transaction() as connection:
            return revisions.commit(connection, wanted, request)

    def committed(self, npc: str, request: RequestKey) -> tuple[RevisionRow, list[str]] | None:
        """What a commit under this request id gave, if there was one."""
        with self._transaction() as connection:
            return revisions.committed(connection, npc, request)

    def _check_room(self) -> None:
        if self._num_npcs >= self._max_npcs:
            raise ServiceError(
                "TOO_MANY",
                f"the store has {self._num_npcs} NPCs, expected at most {self._max_npcs}; delete some, or serve with "
                "a larger --max-npcs",
                limit=self._max_npcs,
            )

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise ServiceError("STORE_UNAVAILABLE", f"the store failed: {cause}; nothing was changed") from error
