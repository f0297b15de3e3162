"""Names of files, folders and families may look like the markup that colours the terminal."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from npcmeta.archetype import save_archetype
from npcmeta_server.cli import main
from npcmeta_server.demo import host
from npcmeta_server.demo.host import Address
from tests.server.cli.builders import record, save_folder, untrained
from tests.soak.victim import serve_command

ODD = "odd [/bold] name"


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_places_are_said_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, rows = save_folder(untrained("cnp"), tmp_path / "wave"), tmp_path / ODD / "rows.json"
    assert main(["evaluate", str(folder), "--shots", "1", "--json", str(rows)]) == 0
    said = capsys.readouterr().out
    assert f"rows:   {rows}\n" in said
    assert f"curves: {rows.with_suffix('.png')}\n" in said
    assert main(["export", str(folder), "--target", "state", "--out", str(tmp_path / ODD)]) == 0
    assert f"wrote {tmp_path / ODD / 'wave.state.safetensors'} (" in capsys.readouterr().out


def test_characters_in_notes_are_named_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "recordings", 6)
    twin = tmp_path / "recordings" / "[b]guard[red]-twin"
    shutil.copytree(tmp_path / "recordings" / "guard-0", twin)
    command = ["train", "--family", "recorded", "--data", str(tmp_path / "recordings"), "--out", str(tmp_path / "out")]
    assert main([*command, "--learner", "cnp", "--meta-steps", "1", "--no-baseline"]) == 0
    assert "[b]guard[red]-twin" in capsys.readouterr().out


def test_a_server_starts_beside_files_and_families_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "archetypes"
    folder.mkdir()
    save_archetype(untrained("cnp")._replace(family="[/wave]"), folder / "wave.safetensors")
    (folder / "[bold].safetensors").write_bytes(b"nothing")
    address = Address(f"127.0.0.1:{host.free_port()}", f"http://127.0.0.1:{host.free_port()}")
    command = serve_command(tmp_path, *(int(text.rpartition(":")[2]) for text in address[:2]))
    with (tmp_path / "said").open("wb") as said, (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=said, stderr=log)
    try:
        host.wait_until_healthy(process, address, tmp_path / "log")
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    shown = (tmp_path / "said").read_text()
    assert "[/wave]" in shown
    assert "[bold].safetensors: not a safetensors file" in shown.replace("\n", "")
