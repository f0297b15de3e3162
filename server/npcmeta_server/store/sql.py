"""The store on a SQL database, through SQLAlchemy. Every public method is one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from npcmeta_server.errors import ServiceError
from npcmeta_server.limits import MAX_NPCS
from npcmeta_server.store import copies, demonstrations, npcs, revisions, schema
from npcmeta_server.store.engine import StoreError, open_engine, prepare
from npcmeta_server.store.rows import (
    ONCE,
    CommitRequest,
    DemonstrationRow,
    NpcFilter,
    NpcRow,
    RequestKey,
    RevisionRow,
    Snapshot,
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
        self,
        npc: NpcRow,
        archetype_revision: str,
        state: bytes,
        request: RequestKey,
        support_nll: float = 0.0,
        clips: Sequence[tuple[bytes, int]] = (),
    ) -> tuple[NpcRow, bool]:
        """Stores a new NPC with its state as revision 1 and the clips behind it; returns it, and whether it is new."""
        with self._transaction() as connection:
            if (before := npcs.created(connection, request)) is not None:
                return before, False
            npcs.create(connection, npc, archetype_revision, state, request, support_nll)
            copies.write_sources(connection, npc.id, clips)
            self._check_room()
        self._num_npcs += 1
        return npc, True

    def created(self, request: RequestKey) -> NpcRow | None:
        """The NPC that the first try of this request made."""
        with self._transaction() as connection:
            return npcs.created(connection, request)

    def snapshot(self, npc: str) -> Snapshot:
        """All that an NPC is, as of one moment."""
        with self._transaction() as connection:
            return copies.snapshot(connection, npc)

    def npc(self, npc: str) -> NpcRow:
        """An NPC, or NPC_NOT_FOUND."""
        with self._transaction() as connection:
            return npcs.find(connection, npc)

    def npcs(self, wanted: NpcFilter, after: str, limit: int) -> list[NpcRow]:
        """NPCs that pass a filter in order of id, those behind `after`."""
        with self._transaction() as connection:
            return npcs.page(connection, wanted, after, limit)

    def rename_npc(self, npc: str, display_name: str, etag: str, request: RequestKey) -> NpcRow:
        """Changes what an NPC is called; only with this etag, if it is not empty."""
        with self._transaction() as connection:
            if (before := npcs.changed(connection, npc, request)) is not None:
                return before
            return npcs.change(connection, npcs.expect(connection, npc, etag), request, display_name=display_name)

    def delete_npc(self, npc: str, etag: str, request: RequestKey = ONCE) -> bool:
        """Deletes an NPC with all that belongs to it; only with this etag, if it is not empty.

        Returns whether it did, and not the first try of this request.
        """
        with self._transaction() as connection:
            done = npcs.remove(connection, npc, etag, request)
        self._num_npcs -= done
        return done

    def state(self, npc: str, number: int | None = None) -> tuple[NpcRow, RevisionRow, bytes]:
        """An NPC, a revision of it (the one that acts, if none is named), and its state."""
        with self._transaction() as connection:
            return revisions.state(connection, npc, number)

    def states(self, npcs: Sequence[str]) -> dict[str, tuple[NpcRow, RevisionRow, bytes]]:
        """NPCs, the revision that acts of each, and its state; those that there are."""
        with self._transaction() as connection:
            return revisions.states(connection, npcs)

    def revisions(self, npc: str, before: int, limit: int) -> list[RevisionRow]:
        """An NPC's revisions, newest first, those with a number below `before`."""
        with self._transaction() as connection:
            return revisions.page(connection, npc, before, limit)

    def revision(self, npc: str, number: int) -> RevisionRow:
        """A revision, or REVISION_NOT_FOUND."""
        with self._transaction() as connection:
            return revisions.find(connection, npc, number)

    def roll_back(self, npc: str, number: int, etag: str, request: RequestKey) -> NpcRow:
        """Lets an NPC point at another of its revisions; only with this etag, if it is not empty."""
        with self._transaction() as connection:
            return revisions.roll_back(connection, npc, number, etag, request)

    def rolled_back(self, npc: str, request: RequestKey) -> NpcRow | None:
        """The NPC, if the first try of this request rolled it back."""
        with self._transaction() as connection:
            return npcs.changed(connection, npc, request)

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

    def delete_demonstration(self, npc: str, demonstration: str, request: RequestKey = ONCE) -> None:
        """Deletes a clip; revisions adapted from it stay."""
        with self._transaction() as connection:
            demonstrations.remove(connection, npc, demonstration, request)

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
