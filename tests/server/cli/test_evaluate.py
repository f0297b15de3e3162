"""`npcmeta evaluate`: the table, the rows that scripts rely on, and what is refused."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from npcmeta import evaluate as scoring
from npcmeta.archetype import build_learner, save_archetype
from npcmeta.tasks import recorded, sinusoid
from npcmeta_server.cli import main, score_tables
from tests.server.cli.builders import record, save_folder, untrained


@pytest.fixture(autouse=True)
def few_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinusoid.SinusoidFamily.__init__, "__defaults__", (20, 5.0))


def rows_of(path: Path) -> list[dict[str, Any]]:
    def refuse(text: str) -> float:
        raise AssertionError(f"{text} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)["rows"]


def error_of(arguments: list[str | Path], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["evaluate", *map(str, arguments)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "Traceback" not in said
    return said


def test_rows_hold_what_scripts_rely_on(tmp_path: Path) -> None:
    folder = save_folder(untrained("maml"), tmp_path / "wave")
    status = main(["evaluate", str(folder), "--shots", "5,0", "--seed", "4", "--json", str(tmp_path / "new/rows.json")])
    assert status == 0
    assert json.loads((tmp_path / "new/rows.json").read_text())["seed"] == 4
    rows = rows_of(tmp_path / "new/rows.json")
    assert [(row["archetype"], row["learner"], row["shots"]) for row in rows] == [
        (name, learner, shots)
        for shots in (0, 5)
        for name, learner in (("wave", "maml"), ("wave-baseline", "average"), ("wave-baseline", "finetune"))
    ]
    for row in rows:
        assert row["tasks"] == len(row["per_task"]) == 20
        assert row["nll"] == pytest.approx(sum(row["per_task"].values()) / 20)
        assert row["nll_ci95"] > 0
        assert row["accuracy"] is None
    assert len({tuple(row["per_task"]) for row in rows}) == 1
    assert (tmp_path / "new/rows.png").read_bytes().startswith(b"\x89PNG")


def test_numbers_are_those_of_the_learner_itself(tmp_path: Path) -> None:
    archetype = untrained("maml")
    folder = save_folder(archetype, tmp_path / "wave")
    assert main(["evaluate", str(folder), "--shots", "0,10", "--json", str(tmp_path / "rows.json")]) == 0
    rows = {(row["learner"], row["shots"]): row for row in rows_of(tmp_path / "rows.json")}
    learner, named = build_learner(archetype), sinusoid.splits(0).test.evaluation(10)
    expected = scoring.evaluate(learner, archetype.meta, torch.zeros(20, 0), named.task)
    assert rows["maml", 10]["nll"] == pytest.approx(float(expected.nll.mean()), rel=1e-5)
    assert list(rows["maml", 10]["per_task"].values()) == pytest.approx(expected.nll.tolist(), rel=1e-5)
    assert rows["maml", 10]["mse"] == pytest.approx(25 * float(expected.error.mean()), rel=1e-5)
    assert rows["average", 0]["nll"] == rows["average", 10]["nll"] == rows["finetune", 0]["nll"]
    assert rows["finetune", 10]["nll"] != rows["finetune", 0]["nll"]


def test_the_table_fits_a_narrow_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save_folder(untrained("maml"), tmp_path / "wave")
    arguments = ["--shots", "0,20,50,100,200,500", "--plot", str(tmp_path / "curves.png")]
    assert main(["evaluate", str(folder), *arguments]) == 0
    said = capsys.readouterr().out
    assert "NLL, nats per decision (20 characters)" in said
    assert "mean squared error (20 characters)" in said
    assert "accuracy" not in said
    assert "…" not in said
    assert (tmp_path / "curves.png").exists()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_table_of_many_shots_cuts_no_number(terminal: bool) -> None:
    shots = (0, 5, 10, 20, 50, 100, 200, 500)
    rows = [
        {"archetype": "guards-of-the-north", "learner": "bayes", "shots": k, "tasks": 20, "nll": 11.125}
        | {"accuracy": None, "mse": None, "known": None}
        for k in shots
    ]
    screen = io.StringIO()
    score_tables.show(rows, Console(file=screen, force_terminal=terminal, width=80))
    assert screen.getvalue().count("11.125") == len(shots)
    assert all(len(line) <= 80 for line in re.sub(r"\x1b\[\d*m", "", screen.getvalue()).splitlines() if terminal)


def test_archetypes_stand_side_by_side_and_their_common_baseline_once(tmp_path: Path) -> None:
    folders = [save_folder(untrained(name, name=name), tmp_path / name) for name in ("maml", "fomaml", "cnp")]
    json_file = tmp_path / "rows.json"
    assert main(["evaluate", *map(str, folders), "--shots", "5", "--json", str(json_file)]) == 0
    assert [row["learner"] for row in rows_of(json_file)] == ["maml", "fomaml", "cnp", "average", "finetune"]


def test_archetypes_of_the_same_name_stay_apart(tmp_path: Path) -> None:
    folders = [save_folder(untrained("maml", seed=seed), tmp_path / str(seed)) for seed in (1, 2)]
    json_file = tmp_path / "rows.json"
    assert main(["evaluate", *map(str, folders), "--shots", "5", "--json", str(json_file)]) == 0
    labels = [row["archetype"] for row in rows_of(json_file)]
    assert labels[0] != labels[1]
    assert all(label.startswith("wave@") for label in labels[:2])


def test_nothing_is_drawn_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_folder(untrained("cnp"), tmp_path / "wave")
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", str(folder), "--shots", "1"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["wave"]


def test_a_single_file_is_an_archetype_too(tmp_path: Path) -> None:
    folder = save_folder(untrained("cnp"), tmp_path / "wave")
    file = folder / "archetype.safetensors"
    assert main(["evaluate", str(file), "--shots", "1", "--json", str(tmp_path / "rows.json")]) == 0
    assert [row["learner"] for row in rows_of(tmp_path / "rows.json")] == ["cnp", "average", "finetune"]


def test_without_a_baseline_nothing_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_archetype(untrained("maml"), tmp_path / "archetype.safetensors")
    said = error_of([tmp_path], capsys)
    assert "baseline.safetensors: every table needs the baseline; train without --no-baseline" in said


@pytest.mark.parametrize("other", [{"family": "character"}, {"split": 1}])
def test_archetypes_that_do_not_fit_together_are_refused(
    tmp_path: Path, other: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    one = save_folder(untrained("maml"), tmp_path / "one")
    two = save_folder(untrained("maml", name="stranger", **other), tmp_path / "two")
    said = error_of([one, two], capsys)
    assert '"stranger" cannot be compared with "wave": it is of family ' in said
    assert "family sinusoid, split 0, observations 1, continuous actions 1, discrete choices none, 1 Hz" in said


def test_a_baseline_of_another_family_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = save_folder(untrained("maml"), tmp_path / "one")
    two = save_folder(untrained("maml", family="character", name="style"), tmp_path / "two")
    (two / "baseline.safetensors").replace(one / "baseline.safetensors")
    assert '"style-baseline" cannot be compared with "wave"' in error_of([one], capsys)


def test_missing_damaged_and_nonsense_arguments_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save_folder(untrained("maml"), tmp_path / "wave")
    assert "no archetype was given" in error_of([], capsys)
    assert "--seed is -1, expected 0 to " in error_of([folder, "--seed", "-1"], capsys)
    said = error_of([folder, "--plot", tmp_path / "rows.txt", "--json", tmp_path / "rows.json"], capsys)
    assert "rows.txt: expected a file name that ends in one of: .png, .svg" in said
    assert not (tmp_path / "rows.json").exists()
    assert "nowhere" in error_of([tmp_path / "nowhere"], capsys)
    assert "expected whole numbers separated by commas" in error_of([folder, "--shots", "5,ten"], capsys)
    assert "expected numbers from 0" in error_of([folder, "--shots=-1,5"], capsys)
    (folder / "archetype.safetensors").write_bytes(b"not an archetype")
    assert "archetype.safetensors" in error_of([folder], capsys)


def recorded_folder(tmp_path: Path, data: Path) -> Path:
    splits = recorded.splits(data, 0)
    archetype = untrained("cnp", family="recorded", name="guards", splits=splits)
    return save_folder(archetype, tmp_path / "guards", splits=splits)


def test_characters_that_were_trained_on_are_refused_unless_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = record(tmp_path / "seen", 6)
    folder = recorded_folder(tmp_path, data)
    arguments = [folder, "--data", data, "--shots", "0,10", "--json", tmp_path / "rows.json"]
    assert "guard-" in error_of(arguments, capsys)
    assert not (tmp_path / "rows.json").exists()
    assert main(["evaluate", *map(str, arguments), "--include-trained"]) == 0
    assert set(rows_of(tmp_path / "rows.json")[0]["per_task"]) == {f"guard-{index}" for index in range(6)}


def test_recordings_of_others_are_evaluated_and_the_short_ones_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = recorded_folder(tmp_path, record(tmp_path / "seen", 6))
    data = record(tmp_path / "unseen", 5, seed=1)
    record(tmp_path / "short", 1, seed=2, steps=20)
    (tmp_path / "short/guard-0").rename(data / "zoe")
    json_file = tmp_path / "rows.json"
    arguments = ["--data", str(data), "--shots", "0,20", "--json", str(json_file)]
    assert main(["evaluate", str(folder), *arguments]) == 0
    counts = {row["shots"]: row["tasks"] for row in rows_of(json_file)}
    assert counts == {0: 6, 20: 5}
    assert "is too short for 20 shots" in capsys.readouterr().out
    assert all(0 <= row["accuracy"] <= 1 and row["mse"] is None for row in rows_of(json_file))
    said = error_of([folder, "--data", data, "--shots", "500"], capsys)
    assert 'no character has enough examples for --shots "500"' in said


def test_an_archetype_of_recordings_needs_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = recorded_folder(tmp_path, record(tmp_path / "seen", 6))
    assert "name unseen ones with --data PATH" in error_of([folder], capsys)


def test_an_archetype_that_does_not_say_its_split_needs_recordings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, learner in (("archetype", "maml"), ("baseline", "finetune")):
        save_archetype(untrained(learner, name=name)._replace(split={}), tmp_path / f"{name}.safetensors")
    said = error_of([tmp_path], capsys)
    assert "does not say which split it was trained on: name unseen ones with --data PATH" in said
