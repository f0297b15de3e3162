"""The store on a SQL database, through SQLAlchemy. Every public method is one transaction."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from npcmeta_server.errors import ServiceError
from npcmeta_server.limits import MAX_NPCS
from npcmeta_server.store import archetypes, copies, demonstrations, npcs, revisions, schema
from npcmeta_server.store.complaints import Complaints
from npcmeta_server.store.engine import failure, lost_race, nobody_knows, open_database, refusal
from npcmeta_server.store.rows import (
    ONCE,
    CommitRequest,
    Committed,
    DemonstrationRow,
    NpcFilter,
    NpcRow,
    RequestKey,
    RevisionRow,
    Snapshot,
)
from npcmeta_server.store.urls import shown
from npcmeta_server.store.versions import prepare

P = ParamSpec("P")
R = TypeVar("R")
RACES = 20
"""How often a transaction may lose against another server's before it is given up."""


class Store:
    """NPCs, demonstrations and revisions. One thread at a time may use it; what a method returned from is on disk."""

    def __init__(self, url: str, max_npcs: int = MAX_NPCS) -> None:
        """Opens the database at a SQLAlchemy URL, and makes its tables if there are none.

        It takes at most `max_npcs`; where several servers write to one database, each counts what itself does.

        Raises:
            StoreError: If it cannot be opened, is in use by another server, or was written by another version.
        """
        try:
            self._engine, self.shared, preparation = open_database(url)
            try:
                with preparation() as connection:
                    prepare(connection, shown(url))
                    self._num_npcs = connection.execute(select(func.count()).select_from(schema.npcs)).scalar_one()
            except BaseException:
                self._engine.dispose()  # lets go of the file
                raise
        except (SQLAlchemyError, ValueError) as error:  # the latter: an option of the URL that cannot be read
            raise refusal(error, shown(url)) from error
        self._max_npcs, self._complaints = max_npcs, Complaints()

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
        *,
        current: bool = False,
    ) -> tuple[NpcRow, bool]:
        """Stores a new NPC with its state as revision 1 and the clips behind it; returns it, and whether it is new.

        Its archetype must not have been retired: ARCHETYPE_NOT_FOUND. `current` says that the archetype revision has to
        be the one that new NPCs get, also if another server changed that: else REVISION_UNAVAILABLE.
        """
        row, is_new = self._run(self._create, npc, archetype_revision, state, request, support_nll, clips, current)
        self._num_npcs += is_new
        return row, is_new

    def created(self, request: RequestKey) -> NpcRow | None:
        """The NPC that the first try of this request made."""
        return self._run(npcs.created, request)

    def snapshot(self, npc: str) -> Snapshot:
        """All that an NPC is, as of one moment."""
        return self._run(copies.snapshot, npc)

    def npc(self, npc: str) -> NpcRow:
        """An NPC, or NPC_NOT_FOUND."""
        return self._run(npcs.find, npc)

    def npcs(self, wanted: NpcFilter, after: str, limit: int) -> tuple[list[NpcRow], str]:
        """NPCs that pass a filter in order of id, those behind `after`, and behind whom to go on; empty at the end."""
        return self._run(npcs.page, wanted, after, limit)

    def rename_npc(self, npc: str, display_name: str, etag: str, request: RequestKey) -> NpcRow:
        """Changes what an NPC is called; only with this etag, if it is not empty."""
        return self._run(npcs.rename, npc, display_name, etag, request)

    def delete_npc(self, npc: str, etag: str, request: RequestKey = ONCE) -> bool:
        """Deletes an NPC with all that belongs to it; only with this etag, if it is not empty.

        Returns whether it did, and not the first try of this request.
        """
        done = self._run(npcs.remove, npc, etag, request)
        self._num_npcs -= done
        return done

    def state(self, npc: str, number: int | None = None) -> tuple[NpcRow, RevisionRow, bytes]:
        """An NPC, a revision of it (the one that acts, if none is named), and its state."""
        return self._run(revisions.state, npc, number)

    def states(self, npcs: Sequence[str]) -> dict[str, tuple[NpcRow, RevisionRow, bytes]]:
        """NPCs, the revision that acts of each, and its state; those that there are."""
        return self._run(revisions.states, npcs)

    def acting(self, npcs: Sequence[str]) -> dict[str, float]:
        """When the revision that acts was made, which tells it from all others of its NPC; of those that there are."""
        return self._run(revisions.acting, npcs)

    def revisions(self, npc: str, before: int, limit: int) -> list[RevisionRow]:
        """An NPC's revisions, newest first, those with a number below `before`."""
        return self._run(revisions.page, npc, before, limit)

    def revision(self, npc: str, number: int) -> RevisionRow:
        """A revision, or REVISION_NOT_FOUND."""
        return self._run(revisions.find, npc, number)

    def roll_back(self, npc: str, number: int, etag: str, request: RequestKey) -> NpcRow:
        """Lets an NPC point at another of its revisions; only with this etag, if it is not empty."""
        return self._run(revisions.roll_back, npc, number, etag, request)

    def rolled_back(self, npc: str, request: RequestKey) -> NpcRow | None:
        """The NPC, if the first try of this request rolled it back."""
        return self._run(npcs.changed, npc, request)

    def add_demonstration(self, npc: str, data: bytes, examples: int, request: RequestKey) -> DemonstrationRow:
        """Stores a clip."""
        return self._run(demonstrations.create, npc, data, examples, request)

    def demonstrations(self, npc: str, after: str, limit: int) -> list[DemonstrationRow]:
        """An NPC's clips in order of id, those behind `after`."""
        return self._run(demonstrations.page, npc, after, limit)

    def demonstration_data(self, npc: str, demonstration: str) -> bytes:
        """The data of a clip, or DEMONSTRATION_NOT_FOUND."""
        return self._run(demonstrations.data, npc, demonstration)

    def delete_demonstration(self, npc: str, demonstration: str, request: RequestKey = ONCE) -> None:
        """Deletes a clip; revisions adapted from it stay."""
        self._run(demonstrations.remove, npc, demonstration, request)

    def support(self, npc: str) -> list[bytes]:
        """The clips that the acting revision was adapted from and that still exist, oldest first."""
        return self._run(revisions.support, npc)

    def commit(self, wanted: CommitRequest, request: RequestKey) -> Committed:
        """Writes a revision, its new clips and the NPC's pointer."""
        return self._run(revisions.commit, wanted, request)

    def commit_all(
        self, commits: Sequence[tuple[CommitRequest, RequestKey]]
    ) -> list[tuple[Committed, bool] | ServiceError]:
        """Writes revisions in one transaction, with one wait for the disk.

        Returns for each what was written and whether it is new, or why it was refused, which concerns it alone.
        """
        try:
            if len(commits) == 1:
                return [self._run(revisions.commit_new, *commits[0])]
            return self._run(revisions.commit_each, commits)
        except ServiceError as error:
            if len(commits) == 1 or nobody_knows(error):
                return [error] * len(commits)
        return [end for each in commits for end in self.commit_all([each])]

    def committed(self, npc: str, request: RequestKey) -> Committed | None:
        """What a commit under this request id gave, if there was one."""
        return self._run(revisions.committed, npc, request)

    def before_adapting(
        self, npc: str, request: RequestKey, *, from_scratch: bool
    ) -> Committed | tuple[NpcRow, RevisionRow, list[bytes]]:
        """What an adaptation begins with: an NPC, the revision that acts, and its clips; or what its first try gave."""
        return self._run(revisions.before_adapting, npc, request, from_scratch=from_scratch)

    def do(self, work: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Does work on a further subject, for example `archetypes`, in one transaction."""
        return self._run(work, *args, **kwargs)

    def _create(
        self,
        connection: Connection,
        npc: NpcRow,
        archetype_revision: str,
        state: bytes,
        request: RequestKey,
        support_nll: float,
        clips: Sequence[tuple[bytes, int]],
        current: bool,
    ) -> tuple[NpcRow, bool]:
        if (before := npcs.created(connection, request)) is not None:
            return before, False
        archetypes.check_offered(connection, npc.archetype, archetype_revision if current and self.shared else "")
        npcs.create(connection, npc, archetype_revision, state, request, support_nll)
        copies.write_sources(connection, npc.id, clips)
        if self._num_npcs >= self._max_npcs:
            raise ServiceError(
                "TOO_MANY",
                f"the store has {self._num_npcs} NPCs, expected at most {self._max_npcs}; delete some, or serve with "
                "a larger --max-npcs",
                limit=self._max_npcs,
            )
        return npc, True

    def _run(self, work: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Does work in one transaction; again, if another server was quicker, to see what it did."""
        for tries in range(1, RACES + 1):
            try:
                with self._engine.begin() as connection:
                    return work(connection, *args, **kwargs)
            except SQLAlchemyError as error:
                if not lost_race(error) or tries == RACES:
                    failed = failure(error)
                    self._log(failed)
                    raise failed from error
            except ServiceError as error:
                self._log(error)
                raise
            time.sleep(random.uniform(0, 0.002 * tries))
        raise AssertionError  # the last try returned or raised

    def _log(self, error: ServiceError) -> None:
        if error.reason == "STORE_UNAVAILABLE":
            self._complaints.log(error.message)
