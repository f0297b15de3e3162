"""What the log says of a store that fails: every fault, but not at each call that meets it."""

from __future__ import annotations

import logging
import time

log = logging.getLogger(__name__)

QUIET_SECONDS = 60.0
KINDS = 16


class Complaints:
    """Faults of a store, each logged at most once a minute; clients meet them much more often."""

    def __init__(self) -> None:
        """Begins without a complaint."""
        self._said: dict[str, float] = {}  # by what was said: when

    def log(self, fault: str) -> None:
        """Says what happened, unless that was said just now."""
        now = time.monotonic()
        if now - self._said.get(fault, -QUIET_SECONDS) < QUIET_SECONDS:
            return
        if len(self._said) >= KINDS:
            self._said.clear()
        self._said[fault] = now
        log.error("%s", fault)
