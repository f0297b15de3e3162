"""The benchmark of CAVIA's Table 1: it measures what it says, and an interruption changes nothing."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Generator

from benchmarks.papers import cavia_learners, cavia_table1
from benchmarks.papers.cavia_learners import Cell
from benchmarks.papers.cavia_table1 import CELLS, measure
from npcmeta import evaluate, training
from npcmeta.outer_loop import Outcome
from npcmeta.types import Params

STEPS = 80


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer waves to test on, and a checkpoint at every step."""
    monkeypatch.setattr(cavia_table1, "TEST_TASKS", 50)
    monkeypatch.setattr(cavia_table1, "VALIDATION_TASKS", 20)
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)


def without_time(result: dict) -> dict:
    return {key: value for key, value in result.items() if key != "seconds"}


@pytest.mark.parametrize("cell", [Cell("cavia", 2), Cell("maml", 1)], ids=lambda cell: cell.name)
def test_an_interrupted_run_finds_what_a_whole_one_does(tmp_path: Path, cell: Cell) -> None:
    steps = cavia_learners.outer_settings(cell.learner, STEPS).meta_steps

    def stop(outcome: Outcome) -> None:
        if outcome.step == steps // 2:
            raise KeyboardInterrupt

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    expected = measure(cell, whole, STEPS, seed=0)
    with pytest.raises(KeyboardInterrupt):
        measure(cell, stopped, STEPS, seed=0, watch=stop)
    assert [path.suffix for path in stopped.iterdir()] == [".checkpoint"]
    seen: list[int] = []
    result = measure(cell, stopped, STEPS, seed=0, watch=lambda outcome: seen.append(outcome.step))
    assert seen == list(range(steps // 2, steps + 1))
    assert without_time(result) == without_time(expected)
    assert [path.suffix for path in stopped.iterdir()] == [".json"]


def test_a_finished_cell_is_not_trained_again_and_not_mistaken_for_another(tmp_path: Path) -> None:
    def never(outcome: Outcome) -> None:
        raise AssertionError("it trains")

    cell = Cell("cavia", 1)
    first = measure(cell, tmp_path, STEPS, seed=0)
    assert measure(cell, tmp_path, STEPS, seed=0, watch=never) == first
    assert json.loads((tmp_path / "cavia-1.json").read_text()) == first
    with pytest.raises(ValueError, match=r"cavia-1\.json is of 80 steps and seed 0; choose another --out"):
        measure(cell, tmp_path, STEPS + 1, seed=0)


def test_the_error_is_that_of_the_papers_task() -> None:
    """A policy that always says zero is wrong by the mean square of the waves, in their own units."""
    learner = cavia_learners.paper_learner(Cell("cavia", 2))
    meta = {key: torch.zeros_like(value) for key, value in learner.init(Generator()).items()}
    task = cavia_table1.family(3, 50).evaluation(10).task
    error, ci95 = cavia_table1.mean_squared_error(learner, meta, task)
    squares = task.query.action.continuous.square().mean((1, 2))
    assert error == pytest.approx(float(squares.mean()), rel=1e-5)
    assert 2 < error < 7
    assert ci95 == pytest.approx(1.96 * float(squares.std()) / math.sqrt(50), rel=1e-5)


def test_training_minimises_the_squared_error() -> None:
    """The NLL is the squared error but for a constant, so inner rates mean what they mean in the paper."""
    learner = cavia_learners.paper_learner(Cell("maml", 2))
    meta = learner.init(Generator().manual_seed(0))
    task = cavia_table1.family(3, 50).evaluation(10).task
    error, _ = cavia_table1.mean_squared_error(learner, meta, task)
    nll = float(evaluate.evaluate(learner, meta, torch.zeros(50, 0), task).nll.mean())
    assert nll - 0.5 * math.log(math.pi) == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_every_cell_begins_within_its_bounds(cell: Cell) -> None:
    meta = cavia_learners.paper_learner(cell).init(Generator().manual_seed(0))
    again = cavia_learners.paper_learner(cell).init(Generator().manual_seed(0))
    assert all(torch.equal(again[key], value) for key, value in meta.items())
    assert inputs_of(meta) == 1 + cell.added
    first, last = ((1 + cell.added) ** -0.5, 1.0) if cell.learner == "cavia" else (1.0, 0.5)
    for key, bound in (
        ("0.weight", first),
        ("0.bias", first),
        ("1.weight", 40**-0.5),
        ("1.bias", 40**-0.5),
        ("2.weight", last * 40**-0.5),
    ):
        assert 0.7 * bound < float(meta[key].abs().max()) <= bound
    assert meta["2.weight"].shape == (40, 1)
    assert ("added" in meta) == (cell.learner == "maml" and cell.added > 0)
    assert not torch.count_nonzero(meta.get("added", torch.zeros(1)))


def test_added_inputs_of_maml_can_do_as_much_however_many_there_are() -> None:
    """The inner step along all of them together is as large as the sum of squares of the weights that read them."""
    squares = [
        float(cavia_learners.paper_learner(Cell("maml", added)).init(Generator())["added_weight"].square().sum())
        for added in (2, 5, 50)
    ]
    assert max(squares) < 1.3 * min(squares)


@pytest.mark.parametrize("layer", [0, 1])
def test_maml_brings_back_a_unit_that_is_zero_everywhere(layer: int) -> None:
    learner = cavia_learners.paper_learner(Cell("maml", 2))
    meta = learner.init(Generator().manual_seed(0))
    active = torch.full((40,), 20.0)
    meta |= {"0.bias": active, "1.bias": active, "1.weight": torch.zeros(40, 40)}
    assert float(cavia_learners.idleness(meta)) == 0
    meta[f"{layer}.bias"] = active.index_fill(0, torch.tensor([3]), -20.0).requires_grad_()
    task = cavia_table1.family(3, 50).evaluation(10).task
    learner.meta_loss(meta, task, Generator())[0].backward()
    uphill = meta[f"{layer}.bias"].grad
    assert uphill is not None
    assert float(uphill[3]) == pytest.approx(-cavia_learners.IDLE_WEIGHT)


@pytest.mark.parametrize("steps", [50_000, STEPS])
def test_both_learners_see_as_many_tasks(steps: int) -> None:
    seen = {
        settings.meta_steps * settings.meta_batch
        for settings in (cavia_learners.outer_settings(learner, steps) for learner in cavia_table1.PAPER)
    }
    assert seen == {25 * steps}


def inputs_of(meta: Params) -> int:
    added = meta["added_weight"].shape[0] if "added_weight" in meta else 0
    return meta["0.weight"].shape[0] + added


def test_cells_are_named_as_they_are_printed() -> None:
    assert cavia_table1.read_cells("") == CELLS
    assert cavia_table1.read_cells("cavia:2, maml:0") == [Cell("cavia", 2), Cell("maml", 0)]
    with pytest.raises(ValueError, match=r"the table has no cavia:0; expected some of: cavia:1, "):
        cavia_table1.read_cells("cavia:0")
