"""Connections to PostgreSQL that wait for so long and no longer: a database may be frozen, or a network swallow all."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import psycopg
from psycopg.errors import ConnectionTimeout

PING_SECONDS = 5.0
"""How long a database may take to say that it is there."""
ANSWER_SECONDS = 30.0
"""For how long it may say nothing, and take nothing, in a transaction: to count ten million NPCs takes most of that."""
REST_SECONDS = 5.0
"""For how long nobody tries to reach a database that let somebody wait in vain, so that no queue waits with them."""


class PatientConnection(psycopg.Connection[Any]):
    """A connection that breaks when the database has been silent for too long."""

    unlimited = False
    """Whether it may be silent, as somebody leads a large database to new tables."""

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Carries out a statement; psycopg wakes up ten times a second meanwhile, and then we look at the time."""
        return super().wait(self._limited(gen), *args, **kwargs)

    def _limited(self, steps: Generator[Any, int, Any]) -> Generator[Any, int, Any]:
        limit = PING_SECONDS if self.autocommit else ANSWER_SECONDS  # SQLAlchemy pings without a transaction
        heard = time.monotonic()
        try:
            wanted = next(steps)
            while self.unlimited or time.monotonic() < heard + limit:
                ready = yield wanted
                if ready:  # not only awake
                    heard = time.monotonic()
                wanted = steps.send(ready)
        except StopIteration as end:
            return end.value
        self.close()  # whatever comes now, nobody knows to what
        raise psycopg.OperationalError(f"the database has said nothing for {limit:g} seconds")


class Connecting:
    """Makes connections, for SQLAlchemy's event of that name."""

    def __init__(self) -> None:
        """Begins without a bad experience."""
        self._rests_until = 0.0

    def __call__(self, dialect: Any, record: Any, arguments: Any, options: Any) -> PatientConnection:
        """A new connection; refused at once, while the database is left alone."""
        if time.monotonic() < self._rests_until:
            raise psycopg.OperationalError("the database let others wait in vain just now")
        try:
            return PatientConnection.connect(*arguments, **options)
        except ConnectionTimeout:
            self._rests_until = time.monotonic() + REST_SECONDS
            raise
