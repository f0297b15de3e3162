"""The curves: bands that compare policies on the same characters, and a picture for every kind of rows."""

import math
from pathlib import Path
from typing import Any

import pytest

from npcmeta_server.report.curves import draw_curves, margin_to_average


def row(learner: str, shots: int, per_task: dict[str, float], **measures: float | None) -> dict[str, Any]:
    nll = sum(per_task.values()) / len(per_task)
    return {
        "archetype": "guard", "learner": learner, "shots": shots, "tasks": len(per_task), "nll": nll,
        "accuracy": None, "mse": None, "nll_ci95": None, "per_task": per_task,
    } | measures  # fmt: skip


def test_a_band_does_not_grow_with_the_differences_between_characters() -> None:
    average = row("average", 5, {"ann": 0.1, "bob": 10.0, "eve": 100.0})
    better = row("maml", 5, {"ann": 0.0, "bob": 9.9, "eve": 99.9})
    uneven = row("cnp", 5, {"ann": 0.1, "bob": 9.0, "eve": 101.0})
    rows = [better, uneven, average]
    assert margin_to_average(better, rows) == pytest.approx(0.0, abs=1e-9)
    assert margin_to_average(uneven, rows) == pytest.approx(1.96 / math.sqrt(3))
    assert margin_to_average(average, rows) == 0.0


def test_one_character_has_no_band() -> None:
    rows = [row("maml", 5, {"ann": 0.0}), row("average", 5, {"ann": 0.1})]
    assert margin_to_average(rows[0], rows) == 0.0


@pytest.mark.parametrize("measures", [{"accuracy": 0.5}, {"mse": 0.1}, {"accuracy": 0.5, "mse": 0.1}])
def test_a_picture_is_drawn_for_every_kind_of_rows(tmp_path: Path, measures: dict[str, float]) -> None:
    rows = [
        row(learner, shots, {"ann": 0.5, "bob": 0.7}, **measures)
        for learner in ("maml", "average", "finetune")
        for shots in (0, 5, 500)
    ]
    draw_curves(rows, tmp_path / "new" / "curves.png")
    assert (tmp_path / "new" / "curves.png").read_bytes().startswith(b"\x89PNG")
