"""How far an adaptation process stands back: frames come first."""

from __future__ import annotations

import contextlib
import os
from typing import Literal

Priority = Literal["idle", "low"]
NICENESS = 5


def stand_back(priority: Priority) -> None:
    """Lets the calling process have only the time that nobody else wants ("idle"), or less than others ("low").

    What wakes up takes the place of an idle process at once. That of one which is merely nice it takes at the next
    tick of the clock, for which several frames may have to wait. Where there is no such thing as idle, it is low.
    """
    if priority == "idle" and hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            return
    if hasattr(os, "nice"):
        os.nice(NICENESS)
