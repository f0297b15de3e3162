"""`npcmeta export`: what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from npcmeta_export import graph
from npcmeta_server.cli import main
from tests.server.cli.builders import save_folder, untrained


def test_the_sizes_that_ml_agents_asks_for_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save_folder(untrained("cnp"), tmp_path / "wave")
    assert main(["export", str(folder), "--target", "mlagents", "--out", str(tmp_path / "assets")]) == 0
    said = capsys.readouterr().out
    [entry] = json.loads((tmp_path / "assets" / "manifest.json").read_text())["assets"]
    assert set(entry["inputs"]) == {"obs_0", "obs_1"}
    for name, (_, size) in entry["inputs"].items():
        assert f"{name}: a vector sensor with Space Size {size}" in said


def test_a_folder_that_cannot_be_made_is_said_before_a_graph_is_traced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_folder(untrained("cnp"), tmp_path / "wave")
    (tmp_path / "taken").touch()
    monkeypatch.setattr(graph, "trace", None)
    assert main(["export", str(folder), "--target", "ort", "--out", str(tmp_path / "taken")]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'taken'}: File exists; a folder is expected there\n"
