"""Pages of lists: sizes, and tokens that belong to what was asked for, so that no page is of another list."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from npcmeta.header import NAME
from npcmeta_server.errors import ServiceError
from npcmeta_server.limits import MAX_PAGE
from npcmeta_server.names import NUMBER

DEFAULT = 100
DIGEST_LENGTH = 12
R = TypeVar("R")


def checked_size(page_size: int) -> int:
    """How many to return, from what the client asks for."""
    if page_size < 0:
        raise ServiceError("INVALID_ARGUMENT", f"page_size is {page_size}, expected 0 to {MAX_PAGE}", field="page_size")
    return min(page_size or DEFAULT, MAX_PAGE)


def token(request: Any, last: str) -> str:
    """The token for the page behind the entry `last`, of the same list."""
    return f"{_digest(request)}.{last}"


def after(request: Any, first: str = "") -> str:
    """The entry that the page asked for is behind, or `first` without a token.

    Raises:
        ServiceError: INVALID_ARGUMENT, if the token is none of this list: one that was asked for in other words.
    """
    if not request.page_token:
        return first
    found, _, last = request.page_token.partition(".")
    if found != _digest(request) or not NAME.fullmatch(last):
        raise _foreign(request.page_token)
    return last


def after_number(request: Any, first: int) -> int:
    """The same, where entries go by numbers."""
    last = after(request)
    if not last:
        return first
    if not NUMBER.fullmatch(last):
        raise _foreign(request.page_token)
    return int(last)


def cut(rows: Sequence[R], size: int) -> tuple[Sequence[R], bool]:
    """The rows of a page, of which one more than `size` was asked for, and whether there are more."""
    return rows[:size], len(rows) > size


def _foreign(page_token: str) -> ServiceError:
    return ServiceError(
        "INVALID_ARGUMENT",
        f'page_token is "{page_token[:80]}", expected the next_page_token of the last page, and all else but '
        "page_size as it was asked for there; begin again without a token",
        field="page_token",
    )


def _digest(request: Any) -> str:
    """What a list is asked for, but for the page."""
    asked: Message = type(request)()
    asked.CopyFrom(request)
    for field in ("page_size", "page_token"):
        asked.ClearField(field)
    content = asked.DESCRIPTOR.full_name.encode() + b"|" + asked.SerializeToString(deterministic=True)
    return hashlib.sha256(content).hexdigest()[:DIGEST_LENGTH]
