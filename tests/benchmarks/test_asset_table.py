"""The table of what can be exported is what the exporter does."""

from pathlib import Path

import pytest

from benchmarks.asset_table import COMMAND, VARIANTS, cell, markdown, row_of
from npcmeta.learners import LEARNERS
from npcmeta_export import TARGETS
from npcmeta_export.check import CONTRACTS
from npcmeta_server.report import generated

PAGE = Path(__file__).resolve().parents[2] / "docs" / "assets.md"


def lines_of_page() -> list[str]:
    begin, end = generated.markers(COMMAND)
    text = PAGE.read_text()
    return text[text.index(begin) : text.index(end)].splitlines()


def test_the_page_has_a_row_for_every_learner_and_a_column_for_every_target() -> None:
    rows = [[part.strip() for part in line.strip("|").split("|")] for line in lines_of_page() if line.startswith("|")]
    assert rows[0] == ["learner", *(f"`{target}`" for target in TARGETS)]
    assert [row[0] for row in rows[2:]] == [*LEARNERS, *VARIANTS]


@pytest.mark.parametrize("learner", ["cnp", "finetune", "protonet"])
def test_the_page_says_what_the_exporter_does(learner: str, tmp_path: Path) -> None:
    found = {learner: row_of(learner, tmp_path)}
    expected = [line for line in markdown(found).splitlines() if line.startswith((f"| {learner} |", f"- {learner}"))]
    written = [line for line in lines_of_page() if line.startswith((f"| {learner} |", f"- {learner}"))]
    assert written == expected


def test_what_cannot_be_is_explained_once() -> None:
    row = {target: {"continuous": "yes", "discrete": "yes", "mixed": "yes"} for target in TARGETS}
    row["adapt"] = {"continuous": "too wild", "discrete": "float64", "mixed": "too wild"}
    text = markdown({"new": row})
    assert "| new | all | discrete* | all |" in text
    assert text.endswith("- new, adapt; continuous, mixed: too wild")
    assert cell({"continuous": "float64", "discrete": "float64", "mixed": "float64"}) == "all*"
    assert cell({"continuous": "no", "discrete": "no", "mixed": "no"}) == "-"


def test_files_that_engines_would_not_take_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONTRACTS, "policy", CONTRACTS["policy"]._replace(operators=frozenset({"Gemm"})))
    row = row_of("protonet", tmp_path)
    assert row["policy"]["discrete"].startswith("npcmeta check: ")
    assert row["ort"]["discrete"] == "yes"
