"""`npcmeta demo` on the quickest family: everything but the arena's closed loop, against the real server."""

import contextlib
import io
import json
import re
from pathlib import Path

import onnxruntime
import pytest

from npcmeta_server.cli import main

pytestmark = pytest.mark.xdist_group("train")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    command = ["demo", "--family", "sinusoid", "--minutes", "0.05", "--out", str(folder / "out")]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main([*command, "--json", str(folder / "demo.json")]) == 0
    assert f"npcmeta serve --archetypes {folder / 'out' / 'archetypes'}" in said.getvalue()
    return folder


def test_the_json_has_a_row_for_each_character_and_number_of_demonstrations(made: Path) -> None:
    found = json.loads((made / "demo.json").read_text())
    assert set(found) == {"characters", "summary", "assets", "report", "seconds"}
    rows = found["characters"]
    assert len({row["name"] for row in rows}) == 24
    assert [sum(row["demonstrations"] == count for row in rows) for count in (0, 1, 3, 10)] == [24] * 4
    assert set(rows[0]) == {"name", "demonstrations", "nll", "nll_average", "nll_finetune", "gap_closed"}
    assert found["summary"] == {"gap_closed": {"0": None, "1": None, "3": None, "10": None}, "ceiling": None}


def test_the_assets_run_and_the_report_needs_nothing_from_elsewhere(made: Path) -> None:
    found = json.loads((made / "demo.json").read_text())
    assert len(found["assets"]) == 4
    for asset in found["assets"]:
        assert onnxruntime.InferenceSession(asset).get_inputs()[0].name == "observation"
    page = Path(found["report"]).read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "npcmeta evaluate" in page
    assert page.count("<img") == 1


def test_a_family_without_tasks_of_its_own_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["demo", "--family", "recorded", "--out", str(tmp_path)]) == 1
    assert "use npcmeta train --data" in capsys.readouterr().err
