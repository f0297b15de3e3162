"""`npcmeta check`: what it prints, its exit status, its JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from npcmeta_server.cli import main
from tests.export.check import files


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_a_good_file_is_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = files.save(files.mlagents(), tmp_path)
    assert main(["check", str(path), "--target", "mlagents"]) == 0
    assert f"{path} for mlagents: accepted, 0 errors, 0 warnings" in capsys.readouterr().out


def test_a_bad_file_says_what_then_and_how_to_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = files.mlagents()
    model.opset_import[0].version = 17
    model.graph.output[0].name = "[red]version[/]"
    path, out = files.save(model, tmp_path), tmp_path / "out" / "found.json"
    assert main(["check", str(path), "--target", "mlagents", "--json", str(out)]) == 1
    said = capsys.readouterr().out
    assert "error opset 17 (opset)" in said
    assert "then: Unity ML-Agents takes opsets 7 to 15" in said
    assert "mend: export with opset_version=15" in said
    assert "[red]version[/]" in said  # a name out of the file is text, not markup
    written = json.loads(out.read_text())
    assert (written["target"], written["ok"], written["file"]) == ("mlagents", False, str(path))
    opset = next(finding for finding in written["findings"] if finding["code"] == "opset")
    assert set(opset) == {"code", "severity", "found", "consequence", "remedy"}


def test_what_cannot_be_read_is_in_the_json_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "found.json"
    assert main(["check", str(tmp_path / "none.onnx"), "--target", "ort", "--json", str(out)]) == 1
    assert [finding["code"] for finding in json.loads(out.read_text())["findings"]] == ["unreadable"]
    assert "refused" in capsys.readouterr().out


def test_one_error_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "none.onnx"), "--target", "ort"]) == 1
    assert "refused, 1 error, 0 warnings" in capsys.readouterr().out
