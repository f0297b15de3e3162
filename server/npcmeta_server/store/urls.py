"""The store's URL: what of it may be shown, and the error for one that cannot be opened."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError


class StoreError(RuntimeError):
    """The store cannot be opened."""


class Database(NamedTuple):
    """An opened database, whatever keeps it."""

    engine: Engine
    shared: bool  # whether other servers may write to it meanwhile
    preparation: Callable[[], AbstractContextManager[Connection]]
    """A transaction in which nobody else prepares the same database."""


def shown(url: str) -> str:
    """A URL without its password and its options, for people and logs."""
    if url.startswith("sqlite:"):
        return url
    try:
        found = make_url(url).set(query={})
        if "@" not in (found.host or ""):  # else it is the end of the password
            return found.render_as_string(hide_password=True)
    except (ArgumentError, ValueError):  # nobody knows where the password is
        pass
    return f"{url.partition(':')[0]}:..."
