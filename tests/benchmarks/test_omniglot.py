"""The Omniglot benchmark: it measures what it says, finished cells are kept, and an interruption changes nothing."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from benchmarks.papers import omniglot as benchmark
from benchmarks.papers.omniglot_contenders import CELLS, CONTENDERS, Cell, Contender, plan
from npcmeta import training
from npcmeta.outer_loop import CheckpointError, OuterLoop
from npcmeta.tasks import omniglot
from npcmeta.tasks.omniglot.drawings import Drawings, read_drawings
from tests.npcmeta.tasks import omniglot_files as files

STEPS = 6
CELL = Cell(3, 1, False)


def quiet(what: str, fraction: float) -> None:
    assert what
    assert 0 <= fraction <= 1


def small(name: str) -> Contender:
    """A contender with little to do."""
    contender = CONTENDERS[name]
    fields = {field.name for field in dataclasses.fields(contender.settings)}  # type: ignore[arg-type]
    changes = {key: 8 for key in ("filters", "embedding") if key in fields}
    settings = dataclasses.replace(contender.settings, **changes)  # type: ignore[type-var]
    outer = dataclasses.replace(contender.outer, meta_steps=STEPS, min_shots=1, max_shots=1, query_shots=2)
    return contender._replace(settings=settings, outer=outer, ways=3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files.tiny_omniglot(tmp_path_factory.mktemp("omniglot"))


@pytest.fixture(scope="module")
def drawings(data: Path) -> Drawings:
    return read_drawings(data)


@pytest.fixture(autouse=True)
def checkpoints_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(benchmark, "QUERY_SHOTS", 3)


def measured(drawings: Drawings, folder: Path, name: str = "protonet", cell: Cell = CELL, **changes: object) -> dict:
    folder.mkdir(exist_ok=True)
    contender = small(name)._replace(**changes)
    return benchmark.measure(name, contender, cell, drawings, folder, 12, 0, quiet)


@pytest.mark.parametrize("name", CONTENDERS)
def test_a_cell_says_what_was_measured_and_is_kept(drawings: Drawings, tmp_path: Path, name: str) -> None:
    found = measured(drawings, tmp_path, name)
    assert found["outer"]["meta_steps"] == STEPS
    assert 0 < found["accuracy"] <= 1
    assert found["ci95"] > 0
    assert found["training_seconds"] > 0
    kept = tmp_path / f"{name}-3-way-1-shot-across.json"
    assert json.loads(kept.read_text()) == json.loads(json.dumps(found))
    next(tmp_path.glob("*.checkpoint")).unlink()
    assert measured(drawings, tmp_path, name) == json.loads(kept.read_text())
    assert not list(tmp_path.glob("*.checkpoint"))


def test_accuracy_is_that_of_the_answers(drawings: Drawings, tmp_path: Path) -> None:
    """A learner that sees who drew what is always right; one that guesses is right once in the number of ways."""
    learner, loop = benchmark.train(
        plan("protonet", small("protonet"), CELL), omniglot.training_drawings(drawings)[0], tmp_path, 0, quiet
    )
    test = omniglot.OmniglotFamily(omniglot.test_drawings(drawings), ways=3, choices=20)

    def guess(meta: object, state: object, observation: torch.Tensor) -> torch.Tensor:
        return torch.arange(20.0, 0.0, -1.0).expand(*observation.shape[:-1], 20)

    found = benchmark.accuracies(learner._replace(predict=guess), loop.best, test, 1, 25, quiet)
    assert found.tolist() == pytest.approx([1 / 3] * 25)


def test_cells_of_one_training_share_it(drawings: Drawings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measured(drawings, tmp_path)
    monkeypatch.setattr(OuterLoop, "advance", None)
    second = measured(drawings, tmp_path, cell=Cell(2, 2, True))
    assert second["training_seconds"] == first["training_seconds"]


def test_contenders_apart_are_trained_for_each_number_of_ways(drawings: Drawings, tmp_path: Path) -> None:
    for cell in (CELL, Cell(3, 2, True), Cell(2, 1, False)):
        measured(drawings, tmp_path, name="maml", cell=cell)
    assert sorted(path.name for path in tmp_path.glob("*.checkpoint")) == [
        "maml-2-way.checkpoint",
        "maml-3-way.checkpoint",
    ]
    contender = CONTENDERS["maml"]
    assert contender.apart
    few, many = (plan("maml", contender, Cell(ways, 1, False)) for ways in (5, 20))
    assert (few.ways, few.choices, many.ways, many.choices) == (5, 5, 20, 20)
    assert few.contender.outer.meta_batch * 5 == many.contender.outer.meta_batch * 20 == contender.outer.meta_batch * 5


def test_an_interruption_changes_nothing(drawings: Drawings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measured(drawings, tmp_path / "whole")
    advance, steps = OuterLoop.advance, 0

    def interrupted(loop: OuterLoop) -> object:
        nonlocal steps
        if steps == 4:
            raise KeyboardInterrupt
        steps += 1
        return advance(loop)

    monkeypatch.setattr(OuterLoop, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measured(drawings, tmp_path / "parts")
    monkeypatch.undo()
    monkeypatch.setattr(benchmark, "QUERY_SHOTS", 3)
    parts = measured(drawings, tmp_path / "parts")
    assert {**parts, "training_seconds": 0} == {**whole, "training_seconds": 0}


def test_what_another_command_left_is_not_taken_for_this_ones(drawings: Drawings, tmp_path: Path) -> None:
    measured(drawings, tmp_path)
    longer = dataclasses.replace(small("protonet").outer, meta_steps=STEPS + 1)
    with pytest.raises(ValueError, match="was measured by another command"):
        measured(drawings, tmp_path, outer=longer)
    with pytest.raises(CheckpointError, match="written by another run"):
        measured(drawings, tmp_path, cell=Cell(2, 1, False), outer=longer)
    fewer = drawings._replace(pictures=drawings.pictures.flip(-1))
    with pytest.raises(CheckpointError, match="drawings is"):
        measured(fewer, tmp_path, cell=Cell(2, 1, False))


def test_contenders_by_name_and_for_a_time() -> None:
    assert benchmark.contenders("protonet,matching", None) == {k: CONTENDERS[k] for k in ("protonet", "matching")}
    timed = benchmark.contenders("matching", 2.5)["matching"].outer
    assert timed.minutes == 2.5
    assert timed.meta_steps > 1_000_000
    with pytest.raises(ValueError, match="no contender is called mamml; expected some of: protonet, matching"):
        benchmark.contenders("mamml", None)


def test_the_command_prints_the_table(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "CONTENDERS", {name: small(name) for name in CONTENDERS})
    cells = [CELL, Cell(2, 2, True)]
    monkeypatch.setattr(benchmark, "CELLS", cells)
    monkeypatch.setattr("sys.argv", ["omniglot.py", "--data", str(data), "--out", str(tmp_path), "--episodes", "7"])
    benchmark.main()
    shown = capsys.readouterr().out
    for name in CONTENDERS:
        assert name in shown
        for cell in cells:
            found = json.loads((tmp_path / f"{name}-{cell.title.replace(' ', '-')}.json").read_text())
            assert f"{100 * found['accuracy']:.1f}±{100 * found['ci95']:.1f}" in shown
    assert all(cell.title in shown for cell in cells)


def test_the_table_has_what_papers_report() -> None:
    assert {cell[:2] for cell in CELLS} == {(5, 1), (5, 5), (20, 1), (20, 5)}
    assert {cell.within for cell in CELLS} == {True, False}
