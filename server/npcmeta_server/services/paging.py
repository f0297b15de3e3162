"""Pages of lists: sizes and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from npcmeta_server.errors import ServiceError
from npcmeta_server.limits import MAX_PAGE

DEFAULT = 100
R = TypeVar("R")


def checked_size(page_size: int) -> int:
    """How many to return, from what the client asks for."""
    if page_size < 0:
        raise ServiceError("INVALID_ARGUMENT", f"page_size is {page_size}, expected 0 to {MAX_PAGE}", field="page_size")
    return min(page_size or DEFAULT, MAX_PAGE)


def number_token(token: str, first: int) -> int:
    """The number in a page token, or `first` for the first page."""
    if not token:
        return first
    if not token.isascii() or not token.isdigit() or len(token) > 18:
        raise ServiceError(
            "INVALID_ARGUMENT", f'page_token is "{token[:80]}", expected the last page\'s next_page_token',
            field="page_token",
        )  # fmt: skip
    return int(token)


def cut(rows: Sequence[R], size: int) -> tuple[Sequence[R], bool]:
    """The rows of a page, of which one more than `size` was asked for, and whether there are more."""
    return rows[:size], len(rows) > size
