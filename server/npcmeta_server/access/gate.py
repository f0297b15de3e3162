"""The gate: every call of every port and protocol goes through it, whatever service it is for."""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from types import TracebackType

from npcmeta_server import metrics
from npcmeta_server.access import roles, sizes
from npcmeta_server.access.quotas import Meter
from npcmeta_server.access.tokens import Token, TokenFile
from npcmeta_server.access.tracing import Begin, Span
from npcmeta_server.errors import ServiceError

log = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
REQUEST_ID_HEADER = "x-request-id"

current: ContextVar[Call | None] = ContextVar("current", default=None)
"""The call that the running task works for."""
peer: ContextVar[str] = ContextVar("peer", default="")
"""Who calls, as gRPC names them: the same for all calls of one connection; over HTTP, for all of one machine."""


class Call:
    """A call that was let in. It counts as under way inside its `with`."""

    def __init__(self, gate: Gate, path: str, headers: Mapping[str, str]) -> None:
        """Made by `Gate.admit`."""
        given = headers.get(REQUEST_ID_HEADER, "")
        self.headers = headers
        self.path, self.request_id = path, given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        self.reason = ""  # of the error that ended it
        self.received = 0  # bytes of the message that came last
        self.meter: Meter | None = None  # of its token, where one is needed
        self._gate, self._began = gate, time.monotonic()
        self._span: Span | None = None

    @property
    def token(self) -> str:
        """The name of the token; empty where none is needed."""
        return self.meter.token.name if self.meter else ""

    def message(self, size: int) -> None:
        """Has to be told of every message of the client, in bytes, before it is parsed.

        Raises:
            ServiceError: TOO_MANY if it is too large, QUOTA_EXCEEDED if it is one too many.
        """
        self.received = size
        sizes.check(self.path, size)
        if self.meter:
            self.meter.message(size)

    def begin(self) -> None:
        """Takes a place; TOO_MANY_CALLS or QUOTA_EXCEEDED if there is none."""
        with self.refusals_told():
            self._gate.begin(self.meter)
        if self._gate.begin_span:
            facts = {"request_id": self.request_id, "token": self.token}
            self._span = self._gate.begin_span(self.path, self.headers, facts)

    def end(self) -> None:
        """Gives the place back, and says how the call ended."""
        self._gate.end(self.meter)
        if self._span:
            self._span.end(self.reason)
        self._tell()

    @contextlib.contextmanager
    def refusals_told(self) -> Iterator[None]:
        """Says that the call ended where it is refused before it has begun."""
        try:
            yield
        except ServiceError as error:
            self.refused(error)
            raise

    def refused(self, error: ServiceError) -> None:
        """Says that the call ended before it had begun."""
        self.reason = error.reason
        self._tell()

    def _tell(self) -> None:
        metrics.CALLS_ENDED.labels(self.path, self.reason).inc()
        level = logging.INFO if self.reason else logging.DEBUG
        if log.isEnabledFor(level):
            seconds = round(time.monotonic() - self._began, 6)
            facts = {"request_id": self.request_id, "token": self.token, "method": self.path, "reason": self.reason}
            how, whom = self.reason or "done", peer.get()
            told = f"{how}, asked by {whom}" if whom else how
            log.log(level, "%s: %s", self.path, told, extra=facts | {"peer": whom, "seconds": seconds})

    def __enter__(self) -> Call:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ServiceError):
            self.reason = error.reason
        self.end()


class Gate:
    """Knows the tokens and what is under way. Without a token file everybody may do everything."""

    def __init__(self, tokens: TokenFile | None, max_calls: int, begin_span: Begin | None = None) -> None:
        """Lets in at most `max_calls` at a time; `begin_span` is told of each."""
        self._tokens, self._max_calls, self.begin_span = tokens, max_calls, begin_span
        self._meters: dict[str, Meter] = {}
        self.calls = 0

    def admit(self, path: str, headers: Mapping[str, str]) -> Call:
        """Lets a call in, before anything of it is read; the running task works for it from now on.

        Args:
            path: /package.Service/Method.
            headers: By name in lower case; `authorization`, `x-request-id` and `traceparent` are looked at.

        Raises:
            ServiceError: INVALID_TOKEN or ROLE_NEEDED.
        """
        call = self.call(path, headers)
        with call.refusals_told():
            self.check(call)
        return call

    def call(self, path: str, headers: Mapping[str, str]) -> Call:
        """A call that has to be checked before anything of it is read; the running task works for it from now on."""
        call = Call(self, path, headers)
        current.set(call)
        return call

    def check(self, call: Call) -> None:
        """Refuses a call as `admit` does; says so to nobody, which is left to `Call.refused`."""
        if self._tokens is None or not roles.needed(call.path):
            return
        token = self._shown(self._tokens, call.headers.get("authorization", ""))
        call.meter = self._meter(token)
        if not roles.covers(token.role, call.path):
            needed = roles.needed(call.path)
            raise ServiceError(
                "ROLE_NEEDED",
                f"token {token.name} has the role {token.role}, {call.path} needs {needed}; use another token",
                token=token.name,
                role=token.role,
                needed=needed,
            )

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
        metrics.CALLS.inc()

    def end(self, meter: Meter | None) -> None:
        """Counts the end of a call."""
        self.calls -= 1
        metrics.CALLS.dec()
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
