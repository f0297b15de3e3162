"""A thread that owns something which only one thread may touch: the database, or the state banks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class OwnerThread:
    """Runs calls one after another, in the order in which they came, off the event loop."""

    def __init__(self, name: str) -> None:
        """Starts no thread before the first call."""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of a call. If the caller is cancelled meanwhile, the call is carried out all the same."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))

    def post(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Lets a call be made behind those that wait, without waiting for it."""
        self._executor.submit(function, *args, **kwargs)

    def close(self) -> None:
        """Waits until all calls are done."""
        self._executor.shutdown()
