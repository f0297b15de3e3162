"""A server that does not come up says why."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from npcmeta_server.demo import host
from npcmeta_server.demo.host import Address


def test_a_server_that_ends_at_its_start_is_not_waited_for(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match=r"the server ended with exit status 1 before it served; its log is .*\.log"),
        host.server(tmp_path / "none", tmp_path / "npcs.db", tmp_path / "server.log"),
    ):
        pass
    assert "there is no such folder" in (tmp_path / "server.log").read_text()


@pytest.mark.parametrize("ending", ["signal.raise_signal(signal.SIGINT)", "sys.exit(130)", "sys.exit(0)"])
def test_an_interrupt_of_the_server_is_one_of_whoever_waits_for_it(tmp_path: Path, ending: str) -> None:
    program = f"import signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); {ending}"
    process = subprocess.Popen([sys.executable, "-c", program])
    with pytest.raises(KeyboardInterrupt):
        host.wait_until_healthy(process, Address("127.0.0.1:1", "http://127.0.0.1:1"), tmp_path / "log")
    assert process.wait() in (-signal.SIGINT, 130, 0)
