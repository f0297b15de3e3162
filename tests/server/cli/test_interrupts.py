"""An interrupt from the keyboard, whenever it comes."""

import importlib
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
