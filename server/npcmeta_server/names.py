"""Resource names: read and written in one place; nothing of a name ever becomes a path."""

from __future__ import annotations

import re
from typing import NamedTuple

from npcmeta.header import NAME
from npcmeta_server.errors import ServiceError
from npcmeta_server.limits import MAX_ID

MAX_SHOWN = 80
NUMBER = re.compile(r"[1-9][0-9]{0,17}")


class Part(NamedTuple):
    """A resource below an NPC or archetype."""

    parent: str  # its id
    id: str


def archetype_id(name: str, field: str = "name") -> str:
    """The {archetype} of archetypes/{archetype}, which came in a field of a request."""
    return _only(name, "archetypes", field)


def npc_id(name: str, field: str = "name") -> str:
    """The {npc} of npcs/{npc}, which came in a field of a request."""
    return _only(name, "npcs", field)


def demonstration(name: str) -> Part:
    """The ids of npcs/{npc}/demonstrations/{demonstration}."""
    return _below(name, "npcs", "demonstrations")


def revision(name: str) -> tuple[str, int]:
    """The {npc} and the {number} of npcs/{npc}/revisions/{number}."""
    part = _below(name, "npcs", "revisions")
    if not NUMBER.fullmatch(part.id):
        raise _malformed(name, "npcs/{id}/revisions/{number}")
    return part.parent, int(part.id)


def upgrade(name: str) -> Part:
    """The ids of archetypes/{archetype}/upgrades/{upgrade}."""
    return _below(name, "archetypes", "upgrades")


def asset(name: str) -> tuple[str, Part]:
    """The collection ("archetypes" or "npcs") of an asset's owner, and the ids of owner and asset."""
    collection = "npcs" if name.startswith("npcs/") else "archetypes"
    return collection, _below(name, collection, "assets")


def checked_id(value: str, what: str) -> str:
    """Returns an id that a client chose, or raises INVALID_NAME."""
    if not NAME.fullmatch(value):
        raise ServiceError(
            "INVALID_NAME",
            f'{what} is "{value[:MAX_SHOWN]}", expected 1 to {MAX_ID} of a-z, 0-9, "-" and "_", '
            "beginning with a letter or a digit",
            field=what,
        )
    return value


def _only(name: str, collection: str, field: str) -> str:
    head, _, last = name.partition("/")
    if head != collection or not NAME.fullmatch(last):
        raise _malformed(name, f"{collection}/{{id}}", field)
    return last


def _below(name: str, collection: str, children: str) -> Part:
    parts = name.split("/")
    if len(parts) != 4 or parts[0] != collection or parts[2] != children:
        raise _malformed(name, f"{collection}/{{id}}/{children}/{{id}}")
    if not NAME.fullmatch(parts[1]) or not NAME.fullmatch(parts[3]):
        raise _malformed(name, f"{collection}/{{id}}/{children}/{{id}}")
    return Part(parts[1], parts[3])


def _malformed(name: str, pattern: str, field: str = "name") -> ServiceError:
    said = f'{field} is "{name[:MAX_SHOWN]}", expected {pattern}'
    return ServiceError("INVALID_NAME", said, field=field, expected=pattern)
