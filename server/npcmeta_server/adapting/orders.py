"""Orders on their way into an adaptation process. Examples go as they lie in memory.

Copying them into one message first would hold up frames: the interpreter is not let go of meanwhile.
"""

from __future__ import annotations

import pickle
from multiprocessing.connection import Connection

from npcmeta_server.adapting.jobs import Order


def send(connection: Connection, order: Order) -> None:
    """Sends an order; waits while the pipe is full."""
    arrays: list[pickle.PickleBuffer] = []
    head = pickle.dumps(order, protocol=5, buffer_callback=arrays.append)
    contents = [content for array in arrays if (content := array.raw()).nbytes]
    connection.send_bytes(pickle.dumps((head, [array.raw().nbytes for array in arrays])))
    for content in contents:
        connection.send_bytes(content)


def receive(connection: Connection) -> Order:
    """The next order; waits until it is there."""
    head, sizes = pickle.loads(connection.recv_bytes())
    order: Order = pickle.loads(head, buffers=[connection.recv_bytes() if size else b"" for size in sizes])
    return order
