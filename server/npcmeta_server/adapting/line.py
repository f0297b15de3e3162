"""The adaptation process's end of the pipe: orders come in, answers go out, several in one message."""

from __future__ import annotations

from collections.abc import Iterable
from multiprocessing.connection import Connection

from npcmeta_server.adapting import orders
from npcmeta_server.adapting.jobs import Answer, Cancel, Dropped, Load, Numbered, Order


class Line:
    """Jobs that have come and wait, and answers that have not gone yet."""

    def __init__(self, connection: Connection) -> None:
        """Lists of `(number, answer)` go out, orders come in."""
        self._connection = connection
        self._said: list[tuple[int, Answer]] = []
        self._cancelled: set[int] = set()
        self.waiting: list[Numbered] = []
        self.loads: list[Load] = []
        """Archetype revisions that have come, for whoever takes them; those that a job needs come before it."""

    def tell(self, number: int, answer: Answer) -> None:
        """Lets an answer go out with the next message."""
        self._said.append((number, answer))

    def flush(self) -> None:
        """Sends what was told; waiting to be read costs whoever waits more than the message does."""
        if self._said:
            self._connection.send(self._said)
            self._said = []

    def wait(self) -> None:
        """Returns when there is a job; all others that have come are there as well."""
        self.flush()
        self._cancelled.clear()
        self._hear()
        while not self.waiting:
            self.flush()
            self._take(orders.receive(self._connection))
            self._hear()

    def wanted(self, numbers: Iterable[int]) -> bool:
        """Whether any of these jobs, which are under way, has not been cancelled by now. Also sends what was told."""
        self.flush()
        self._hear()
        return not self._cancelled.issuperset(numbers)

    def _hear(self) -> None:
        while self._connection.poll():
            self._take(orders.receive(self._connection))

    def _take(self, order: Order) -> None:
        if isinstance(order, Numbered):
            self.waiting.append(order)
            return
        if isinstance(order, Load):
            self.loads.append(order)
            return
        assert isinstance(order, Cancel)
        self._cancelled.add(order.number)
        kept = [entry for entry in self.waiting if entry.number != order.number]
        if len(kept) < len(self.waiting):
            self.tell(order.number, Dropped())
        self.waiting = kept
