"""Bearer tokens: NAME.SECRET, of which a file keeps the name, the role, the quotas and a digest.

A secret has 256 random bits, so that a plain SHA-256 keeps it.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from npcmeta.header import NAME
from npcmeta_server.access.roles import ROLES
from npcmeta_server.access.watched import stamp

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often a token file is looked at, at most."""
MAX_PRESENTED = 200
"""Characters of a token that a client shows, at most."""
NOBODY = hashlib.sha256(b"nobody").hexdigest()
QUOTAS = ("calls", "messages_per_second", "bytes_per_second")


class Token(NamedTuple):
    """What the server knows of a token."""

    name: str
    role: str
    sha256: str  # of the whole token, in hexadecimal digits
    calls: int = 0  # at the same time, streams among them; 0: as many as the server takes
    messages_per_second: int = 0  # of all its calls together; 0: no limit
    bytes_per_second: int = 0


def new(name: str, role: str, quotas: Mapping[str, int]) -> tuple[str, str]:
    """Makes a token: what its owner is given, and the lines that the server's file is given.

    Raises:
        ValueError: If the name, the role or a quota is out of range.
    """
    text = f"{name}.{secrets.token_urlsafe(32)}"
    token = _checked(name, {"role": role, "sha256": _digest(text), **quotas})
    numbers = [f"{key} = {getattr(token, key)}" for key in QUOTAS if getattr(token, key)]
    return text, "\n".join([f"[{name}]", f'role = "{role}"', f'sha256 = "{token.sha256}"', *numbers, ""])


def read(path: Path) -> dict[str, Token]:
    """The tokens of a file, by name.

    Raises:
        ValueError: If the file is no list of tokens; the message holds nothing of its content but names and keys.
        OSError: If it cannot be read.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file ({type(error).__name__}); npcmeta token new writes one") from error
    try:
        return {name: _checked(name, table) for name, table in tables.items()}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _checked(name: str, table: Any) -> Token:
    if not NAME.fullmatch(name):
        raise ValueError(
            f'a token is called "{name[:80]}", expected 1 to 63 of a-z, 0-9, "-" and "_", beginning with a letter or a '
            "digit"
        )
    known = ("role", "sha256", *QUOTAS)
    if not isinstance(table, dict) or not {"role", "sha256"} <= set(table) <= set(known):
        raise ValueError(f"token {name} is not as expected: role, sha256 and, if wanted, {', '.join(QUOTAS)}")
    if table["role"] not in ROLES:
        raise ValueError(f"token {name} has an unknown role, expected one of: {', '.join(ROLES)}")
    digest = table["sha256"]
    if not isinstance(digest, str) or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise ValueError(f"token {name} has a sha256 that is no 64 hexadecimal digits")
    for key in QUOTAS:
        if type(table.get(key, 0)) is not int or table.get(key, 0) < 0:
            raise ValueError(f"token {name} has a {key} that is no whole number, 0 or more")
    return Token(name, **table)


class TokenFile:
    """The tokens of a file, read again when it changes."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Reads the file; raises as `read` does, and ValueError if it holds no token."""
        self._path, self._clock = path, clock
        self._seen, self._tokens, self._looked = stamp(path), read(path), clock()
        if not self._tokens:
            raise ValueError(f"{path} holds no token; npcmeta token new writes one into it")

    def find(self, presented: str) -> Token | None:
        """The token that a client shows, or None; takes as long for a wrong secret as for an unknown name."""
        self._look()
        token = self._tokens.get(presented.partition(".")[0])
        right = hmac.compare_digest(_digest(presented[:MAX_PRESENTED]), token.sha256 if token else NOBODY)
        return token if right else None

    def _look(self) -> None:
        if (now := self._clock()) - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        before, self._seen = self._seen, stamp(self._path)
        if self._seen == before:
            return
        try:
            self._tokens = read(self._path)
            log.info("read %d tokens from %s", len(self._tokens), self._path)
        except (OSError, ValueError) as error:
            log.error("the tokens stay as they were: %s", error)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
