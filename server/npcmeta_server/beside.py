"""Work on much data, beside the event loop: frames wait for everything that the loop does itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")

MUCH = 1 << 20
"""Bytes from which on a thread is worth two changes of thread; to check or to digest them takes a millisecond."""


async def run(size: int, function: Callable[[], R]) -> R:
    """The result of work on so many bytes: of a thread if they are much, else at once.

    It helps as far as the work lets go of the interpreter, as digests, joins and arithmetic on arrays do. Parsing and
    writing protobuf messages does not, whence the limits in `access.sizes`.
    """
    return await asyncio.to_thread(function) if size >= MUCH else function()
