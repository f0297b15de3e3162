"""How much of the server one token may use, and all of them together."""

from __future__ import annotations

import time
from collections.abc import Callable

from npcmeta_server.access.tokens import Token
from npcmeta_server.errors import ServiceError

Clock = Callable[[], float]


class Bucket:
    """So much a second, and a second's worth at once. One thing that is larger goes through, and is paid off."""

    def __init__(self, rate: int, clock: Clock) -> None:
        """Begins full."""
        self._rate, self._clock = rate, clock
        self._level, self._then = float(rate), clock()

    def take(self, amount: float) -> float:
        """Takes it and returns 0, or returns the seconds after which it could be taken."""
        now = self._clock()
        self._level = min(self._rate, self._level + (now - self._then) * self._rate)
        self._then = now
        if self._level <= 0:
            return max(1e-3, -self._level / self._rate)
        self._level -= amount
        return 0.0


class Meter:
    """What a token uses, over all its calls."""

    def __init__(self, token: Token, clock: Clock = time.monotonic) -> None:
        """Begins with nothing used."""
        self.token, self.calls = token, 0
        rates = {"messages": token.messages_per_second, "bytes": token.bytes_per_second}
        self._buckets = {what: Bucket(rate, clock) for what, rate in rates.items() if rate}

    def begin(self) -> None:
        """Counts a call that begins; QUOTA_EXCEEDED if there are as many as there may be."""
        if self.token.calls and self.calls >= self.token.calls:
            raise ServiceError(
                "QUOTA_EXCEEDED",
                f"token {self.token.name} has {self.calls} calls under way, expected at most {self.token.calls}; end "
                "some, or ask for a larger quota",
                token=self.token.name,
                quota="calls",
                limit=self.token.calls,
            )
        self.calls += 1

    def end(self) -> None:
        """Counts the end of a call."""
        self.calls -= 1

    def message(self, size: int) -> None:
        """Counts a message of so many bytes; QUOTA_EXCEEDED beyond what a second may bring."""
        for what, amount in (("messages", 1), ("bytes", size)):
            bucket = self._buckets.get(what)
            wait = bucket.take(amount) if bucket else 0.0
            if wait:
                limit = getattr(self.token, f"{what}_per_second")
                raise ServiceError(
                    "QUOTA_EXCEEDED",
                    f"token {self.token.name} sent more than {limit} {what} in a second; try again in {wait:.3f} s, or "
                    "ask for a larger quota",
                    token=self.token.name,
                    quota=f"{what}_per_second",
                    limit=limit,
                    retry_seconds=f"{wait:.3f}",
                )
