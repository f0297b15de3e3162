"""Signals to a server: those that stop it, and SIGHUP, which comes from a terminal that goes, or to a service."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable

log = logging.getLogger(__name__)

STOP, HANGUP = (signal.SIGINT, signal.SIGTERM), getattr(signal, "SIGHUP", None)  # Windows has no SIGHUP


def listen(stop: Callable[[], None]) -> None:
    """Calls `stop` in the running event loop at every signal to stop; a lost terminal is one, too."""
    loop = asyncio.get_running_loop()
    for number in STOP:
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows: its event loop takes no signals
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
    if HANGUP is not None and signal.getsignal(HANGUP) != signal.SIG_IGN:  # nohup goes on without its terminal
        loop.add_signal_handler(HANGUP, stop if _has_terminal() else _explain)


def leave_to_the_server() -> None:
    """Lets signals be that the whole group gets: the server ends this process of its own when it is drained."""
    for number in filter(None, (*STOP, HANGUP)):
        signal.signal(number, signal.SIG_IGN)


def _has_terminal() -> bool:
    """Whether a terminal that goes would say so by SIGHUP; of a service, somebody else sends it."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _explain() -> None:
    log.info("SIGHUP: nothing to do; tokens and certificates are read again whenever they change")
