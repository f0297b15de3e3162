"""The gate: every call of every port and protocol goes through it, whatever service it is for."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Mapping
from contextvars import ContextVar
from types import TracebackType

from npcmeta_server import metrics
from npcmeta_server.access import roles
from npcmeta_server.access.quotas import Meter
from npcmeta_server.access.tokens import Token, TokenFile
from npcmeta_server.errors import ServiceError

log = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
REQUEST_ID_HEADER = "x-request-id"

current: ContextVar[Call | None] = ContextVar("current", default=None)
"""The call that the running task works for."""


class Call:
    """A call that was let in. It counts as under way inside its `with`."""

    def __init__(self, gate: Gate, path: str, request_id: str, meter: Meter | None) -> None:
        """Made by `Gate.admit`."""
        self.path, self.request_id = path, request_id
        self.reason = ""  # of the error that ended it
        self._gate, self._meter, self._began = gate, meter, time.monotonic()

    @property
    def token(self) -> str:
        """The name of the token; empty where none is needed."""
        return self._meter.token.name if self._meter else ""

    def message(self, size: int) -> None:
        """Has to be told of every message of the client, in bytes; QUOTA_EXCEEDED if it is one too many."""
        if self._meter:
            self._meter.message(size)

    def begin(self) -> None:
        """Takes a place; TOO_MANY_CALLS or QUOTA_EXCEEDED if there is none."""
        self._gate.begin(self._meter)

    def end(self) -> None:
        """Gives the place back, and says how the call ended."""
        self._gate.end(self._meter)
        metrics.CALLS_ENDED.labels(self.path, self.reason).inc()
        level = logging.INFO if self.reason else logging.DEBUG
        if log.isEnabledFor(level):
            seconds = round(time.monotonic() - self._began, 6)
            facts = {"request_id": self.request_id, "token": self.token, "method": self.path, "reason": self.reason}
            how = self.reason or "done"
            log.log(level, "%s: %s", self.path, how, extra=facts | {"seconds": seconds})

    def __enter__(self) -> Call:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


class Gate:
    """Knows the tokens and what is under way. Without a token file everybody may do everything."""

    def __init__(self, tokens: TokenFile | None, max_calls: int) -> None:
        """Lets in at most `max_calls` at a time."""
        self._tokens, self._max_calls = tokens, max_calls
        self._meters: dict[str, Meter] = {}
        self.calls = 0

    def admit(self, path: str, headers: Mapping[str, str]) -> Call:
        """Lets a call in, before anything of it is read.

        Args:
            path: /package.Service/Method.
            headers: By name in lower case; `authorization` and `x-request-id` are looked at.

        Raises:
            ServiceError: INVALID_TOKEN or ROLE_NEEDED.
        """
        try:
            return self._admit(path, headers)
        except ServiceError as error:
            metrics.CALLS_ENDED.labels(path, error.reason).inc()
            facts = {"method": path, "reason": error.reason, "token": error.metadata.get("token", "")}
            log.info("%s: %s", path, error.reason, extra=facts)
            raise

    def _admit(self, path: str, headers: Mapping[str, str]) -> Call:
        given = headers.get(REQUEST_ID_HEADER, "")
        request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        if self._tokens is None or not roles.needed(path):
            return Call(self, path, request_id, None)
        token = self._shown(self._tokens, headers.get("authorization", ""))
        if not roles.covers(token.role, path):
            raise ServiceError(
                "ROLE_NEEDED",
                f"token {token.name} has the role {token.role}, {path} needs {roles.needed(path)}; use another token",
                token=token.name,
                role=token.role,
                needed=roles.needed(path),
            )
        return Call(self, path, request_id, self._meter(token))

    def begin(self, meter: Meter | None) -> None:
        """Counts a call that begins."""
        if self.calls >= self._max_calls:
            raise ServiceError(
                "TOO_MANY_CALLS",
                f"{self.calls} calls are under way, which is all that this server takes; try again, or elsewhere",
                limit=self._max_calls,
            )
        if meter:
            meter.begin()
        self.calls += 1
        metrics.CALLS.set(self.calls)

    def end(self, meter: Meter | None) -> None:
        """Counts the end of a call."""
        self.calls -= 1
        metrics.CALLS.set(self.calls)
        if meter:
            meter.end()

    @staticmethod
    def _shown(tokens: TokenFile, authorization: str) -> Token:
        scheme, _, presented = authorization.partition(" ")
        if scheme.lower() != "bearer" or not presented:
            raise ServiceError(
                "INVALID_TOKEN", 'the call has no token, expected a header "authorization: Bearer TOKEN"'
            )
        token = tokens.find(presented.strip())
        if token is None:
            raise ServiceError("INVALID_TOKEN", "the token is not known, or was taken back; ask for a new one")
        return token

    def _meter(self, token: Token) -> Meter:
        meter = self._meters.get(token.name)
        if meter is None or meter.token != token:
            meter = self._meters[token.name] = Meter(token)
        return meter
