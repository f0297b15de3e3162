"""Opening the database behind a URL, and what its failures mean."""

from __future__ import annotations

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from npcmeta_server.errors import ServiceError
from npcmeta_server.store import postgres, sqlite
from npcmeta_server.store.urls import Database, StoreError

LOST_RACES = ("40001", "40P01")
"""PostgreSQL's codes for transactions that collided, or waited for each other."""

DAMAGED = "its file is damaged; stop the server and put a copy in its place"


def open_database(url: str) -> Database:
    """Opens the database at a SQLAlchemy URL; raises StoreError, or SQLAlchemyError, if it cannot be."""
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        return sqlite.open_database(url)
    if scheme in postgres.SCHEMES:
        return postgres.open_database(url)
    raise StoreError(f'the store is "{scheme}:...", expected sqlite:///FILE or {postgres.FORM}')


def refusal(error: Exception, store: str) -> StoreError:
    """Why a database could not be opened, and what to look at."""
    cause = _cause(error)
    hint = "does its folder exist, and may this user write to it?"
    if _is_damage(cause):
        hint = DAMAGED
    elif "full" in cause:
        hint = "make room on its disk"
    elif not store.startswith("sqlite"):
        hint = "is it running, and may the user write to that database?"
    elif "locked" in cause:
        hint = "is another server using it?"
    return StoreError(f"the store {store} cannot be opened: {cause}; {hint}")


def lost_race(error: SQLAlchemyError) -> bool:
    """Whether another server was quicker, so that the same transaction has to look again."""
    return isinstance(error, IntegrityError) or (
        isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in LOST_RACES
    )


def failure(error: SQLAlchemyError) -> ServiceError:
    """What a client is told of a transaction that failed."""
    cause = _cause(error)
    if isinstance(error, DataError):
        return ServiceError("INVALID_ARGUMENT", f"a value does not fit the store: {cause}; nothing was changed")
    if _is_broken(error):
        return ServiceError(
            "STORE_UNAVAILABLE",
            f"the connection to the store broke: {cause}; try again, with the same request_id, so that what was "
            "written nevertheless counts once",
        )
    advice = DAMAGED if _is_damage(cause) else "try again later"
    return ServiceError("STORE_UNAVAILABLE", f"the store failed: {cause}; nothing was changed, {advice}")


def nobody_knows(failed: ServiceError) -> bool:
    """Whether the connection broke, so that a transaction may have been written nevertheless."""
    return _is_broken(failed.__cause__)


def _is_broken(error: BaseException | None) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _is_damage(cause: str) -> bool:
    return "malformed" in cause or "not a database" in cause


def _cause(error: Exception) -> str:
    """What the database itself said, in one line, without the statement that it was asked."""
    said = getattr(error, "orig", None) or error
    primary = getattr(getattr(said, "diag", None), "message_primary", None)  # PostgreSQL's
    return " ".join(str(primary or said).split())
