"""Orders come out of the pipe as they went in, however large their arrays are."""

import threading
from multiprocessing import Pipe

import numpy as np
import pytest

from npcmeta_server.adapting import orders
from npcmeta_server.adapting.jobs import AdaptJob, Cancel, ExportJob, Load, Numbered, Order
from tests.server.adapting.test_worker import clip

LARGE = clip(3)._replace(observations=np.random.default_rng(0).standard_normal((300, 1000)).astype(np.float32))
SENT: list[Order] = [
    Load("scout", bytes(1 << 20)),
    Numbered(1, AdaptJob("scout", "bob", 7, clip(3), clip(2))),
    Numbered(2, AdaptJob("scout", "amy", 8, LARGE)),
    Numbered(3, AdaptJob("scout", "nobody", 9, clip(0))),
    Numbered(4, ExportJob("scout", "bob", b"state")),
    Cancel(2),
]


def test_orders_come_as_they_went() -> None:
    ours, theirs = Pipe()
    sender = threading.Thread(target=lambda: [orders.send(ours, order) for order in SENT])
    sender.start()
    for order in SENT:
        np.testing.assert_equal(orders.receive(theirs), order)
    sender.join()
    ours.close()
    with pytest.raises(EOFError):
        orders.receive(theirs)
