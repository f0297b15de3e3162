"""An interrupt from the keyboard, whenever it comes."""

import importlib
import signal
import subprocess
import sys
from types import ModuleType

import pytest

from npcmeta_server.cli import main


def test_while_a_command_is_loaded_it_ends_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> ModuleType:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupted)
    assert main(["train"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


SWALLOWING = """
import importlib, signal, sys
from npcmeta_server.cli import main

def load(name):
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        sys.exit("swallowed")
    sys.exit("ignored")

signal.signal(signal.SIGINT, getattr(signal, sys.argv[1]))
importlib.import_module = load
main(["train"])
"""
"""Loads a command with a library that goes on when it is interrupted, as some do."""


@pytest.mark.parametrize(
    ("before", "ends"), [("default_int_handler", (-signal.SIGINT, "")), ("SIG_IGN", (1, "ignored\n"))]
)
def test_no_library_that_is_loaded_swallows_it(before: str, ends: tuple[int, str]) -> None:
    done = subprocess.run([sys.executable, "-c", SWALLOWING, before], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == ends
