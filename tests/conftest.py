import contextlib
import signal
import socket
from collections.abc import Iterator

import pytest
import torch

from tests.server.store.postgres import programs

torch.set_num_threads(1)
for number in {signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)}:
    if signal.getsignal(number) is signal.SIG_IGN:  # nohup and a shell's & hand that on, to the programs under test too
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def has_ipv6() -> bool:
    """Whether this machine has an address ::1; a container often has none."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


HERE = {"postgres": lambda: programs() is not None, "ipv6": has_ipv6}
"""Marker -> whether this machine has what those tests need."""


@pytest.fixture
def program_of_doubles() -> Iterator[None]:
    """A program that lets torch draw in float64 by default, as scientific ones do."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(usual)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what needs something that is not here; CI installs PostgreSQL."""
    lacking = [marker for marker, is_here in HERE.items() if not is_here()]
    without = [item for item in items if any(map(item.get_closest_marker, lacking))]
    if without:
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in without]
