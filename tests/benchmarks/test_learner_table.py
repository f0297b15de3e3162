"""The learner table: it says what was measured, an interruption changes nothing, and the page is written by it."""

import json
from pathlib import Path

import pytest

from benchmarks import learner_cells, learner_table
from benchmarks.learner_cells import Budget, find, measure
from benchmarks.learner_table import COMMAND, markdown
from npcmeta import training
from npcmeta.outer_loop import OuterLoop
from npcmeta_server.report import generated

BEGIN, END = generated.markers(COMMAND)

STEPS = 6
BUDGET = Budget(None, STEPS)
TIMES = ("adapt_milliseconds", "act_microseconds", "training_minutes")


def quiet(what: str, fraction: float) -> None:
    assert what
    assert 0 <= fraction <= 1


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint at every step, and few repetitions."""
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(learner_cells, "REPEATS", 3)


def measured(folder: Path, learner: str = "cnp", budget: Budget = BUDGET) -> dict:
    folder.mkdir(exist_ok=True)
    return measure("sinusoid", learner, budget, folder, quiet)


def without_times(row: dict) -> dict:
    return {key: value for key, value in row.items() if key not in TIMES}


def test_a_cell_says_what_was_measured_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = measured(tmp_path)
    assert (row["family"], row["learner"], row["refused"], row["meta_steps"]) == ("sinusoid", "cnp", None, STEPS)
    assert list(row["shots"]) == ["0", "1", "5", "10"]
    assert all(found["tasks"] == 600 and found["nll_ci95"] > 0 for found in row["shots"].values())
    assert row["shots"]["10"]["nll"] != row["shots"]["0"]["nll"]
    assert all(row[key] > 0 for key in TIMES)
    assert row["adapt_graph"] == "yes"
    assert [path.name for path in tmp_path.iterdir()] == ["sinusoid-cnp.json"]
    monkeypatch.setattr(OuterLoop, "advance", None)
    assert measured(tmp_path) == json.loads((tmp_path / "sinusoid-cnp.json").read_text()) == row


def test_bytes_are_those_of_what_acts(tmp_path: Path) -> None:
    """An adapted network is kept whole, as float32; a neural process is its mean code and how many were seen."""
    maml, cnp = measured(tmp_path, "maml"), measured(tmp_path, "cnp")
    assert maml["bytes_per_npc"] == 4 * (1 * 40 + 40 + 40 * 40 + 40 + 40 * 2 + 2)
    assert cnp["bytes_per_npc"] < maml["bytes_per_npc"] / 5


def test_a_learner_without_an_adapt_graph_says_why(tmp_path: Path) -> None:
    row = measured(tmp_path, "finetune")
    assert "number of inner steps depends on how many examples" in row["adapt_graph"]
    assert f"- `finetune`, adapt graph: {row['adapt_graph']}" in markdown([row])


def test_what_a_learner_refuses_is_a_row_too(tmp_path: Path) -> None:
    row = measured(tmp_path, "protonet")
    assert "protonet" in row["refused"]
    assert "continuous" in row["refused"]
    assert "shots" not in row
    page = markdown([measured(tmp_path), row])
    assert f"- `protonet` is left out: {row['refused']}" in page
    assert "| protonet |" not in page


def test_a_training_that_diverges_is_a_row_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(loop: OuterLoop) -> None:
        raise FloatingPointError("at outer step 1 the meta-loss is nan")

    monkeypatch.setattr(OuterLoop, "advance", diverge)
    assert measured(tmp_path)["refused"] == "at outer step 1 the meta-loss is nan"


def test_an_interruption_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measured(tmp_path / "whole")
    advance, steps = OuterLoop.advance, 0

    def interrupted(loop: OuterLoop) -> object:
        nonlocal steps
        if steps == STEPS // 2:
            raise KeyboardInterrupt
        steps += 1
        return advance(loop)

    monkeypatch.setattr(OuterLoop, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path / "parts")
    assert [path.suffix for path in (tmp_path / "parts").iterdir()] == [".checkpoint"]
    monkeypatch.setattr(OuterLoop, "advance", advance)
    assert without_times(measured(tmp_path / "parts")) == without_times(whole)


def test_the_time_before_an_interruption_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was stopped while it tested has nothing left to train, and still knows how long that took."""
    checkpoint = tmp_path / "sinusoid-cnp.checkpoint"
    first = find("sinusoid", "cnp", BUDGET, checkpoint, quiet)
    monkeypatch.setattr(OuterLoop, "advance", None)
    again = find("sinusoid", "cnp", BUDGET, checkpoint, quiet)
    assert again["training_minutes"] == first["training_minutes"] > 0
    assert without_times(again) == without_times(first)


def test_what_another_command_left_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    measured(tmp_path)
    with pytest.raises(ValueError, match=r"sinusoid-cnp\.json was measured by another command; .* another --out"):
        measured(tmp_path, budget=BUDGET._replace(meta_steps=STEPS + 1))


def test_minutes_are_what_everybody_gets_unless_steps_are_named() -> None:
    assert Budget(0.5).outer("character").minutes == 0.5
    assert Budget(0.5, 7).outer("character").minutes == 0.0
    assert Budget(0.5, 7).outer("character").meta_steps == 7


def run(monkeypatch: pytest.MonkeyPatch, out: Path, page: Path, learners: str) -> None:
    arguments = ["--families", "sinusoid", "--learners", learners, "--meta-steps", str(STEPS)]
    monkeypatch.setattr("sys.argv", ["learner_table.py", "--out", str(out), *arguments, "--write-docs", str(page)])
    learner_table.main()


def test_the_command_writes_the_table_between_the_markers_of_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page, out = tmp_path / "page.md", tmp_path / "out"
    page.write_text(f"# By hand\n\n{BEGIN}\nwhat was there\n{END}\n\nBelow.\n")
    run(monkeypatch, out, page, "cnp,finetune,protonet")
    rows = json.loads((out / "table.json").read_text())["rows"]
    assert [row["learner"] for row in rows] == ["cnp", "finetune", "protonet"]
    written = page.read_text()
    assert written == f"# By hand\n\n{BEGIN}\n\n{markdown(rows)}\n\n{END}\n\nBelow.\n"
    shown = capsys.readouterr().out
    for row in rows[:2]:
        line = next(line for line in written.splitlines() if line.startswith(f"| {row['learner']} |"))
        for found in row["shots"].values():
            assert f"{found['nll']:.3f}" in line
        assert row["learner"] in shown
    run(monkeypatch, out, page, "cnp,finetune,protonet")
    assert page.read_text() == written


def test_the_best_of_each_column_stands_out(tmp_path: Path) -> None:
    row = measured(tmp_path)
    better = json.loads(json.dumps(row)) | {"learner": "better"}
    better["shots"]["5"]["nll"] -= 1
    lines = {line.split(" | ")[0].strip("| "): line for line in markdown([row, better]).splitlines()}
    assert f"**{better['shots']['5']['nll']:.3f}**" in lines["better"]
    assert f"| {row['shots']['5']['nll']:.3f} |" in lines["cnp"]
    assert lines["cnp"].count("**") == 2 * 3


def test_a_page_without_markers_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{END}\n{BEGIN}\n")
    with pytest.raises(ValueError, match=r"page\.md has no place for the table; expected a line"):
        run(monkeypatch, tmp_path / "out", page, "cnp")
    assert not (tmp_path / "out").exists()


def test_unknown_names_are_answered_with_the_known_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    with pytest.raises(ValueError, match="no learner is called mamml; expected some of: bayes, "):
        run(monkeypatch, tmp_path / "out", page, "mamml")
