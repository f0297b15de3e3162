"""Settings that validation tasks choose: the best one, or where it is doubted, the one that there was."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from npcmeta.learners.choices import Choice, best


@dataclass(frozen=True)
class Settings:
    rate: float = 1.0
    steps: int = 3


def chosen(gains: dict[float, list[list[float]]], *, doubt: float | None = None) -> float:
    """The rate that is chosen, by what each gains over the first for each number of shots and task."""

    def nll(settings: Settings) -> list[Tensor]:
        assert settings.steps == 3
        return [5.0 - torch.tensor(gain) for gain in gains[settings.rate]]

    return best(Settings(), Choice([{"rate": rate} for rate in gains if rate != 1.0], doubt), nll).rate


NOTHING = [[0.0, 0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("doubt", [None, 0.5, 1.0])
def test_what_all_tasks_gain_by_is_chosen(doubt: float | None) -> None:
    gains = {1.0: NOTHING, 2.0: [[0.1, 0.2, 0.1], [0.2, 0.1]], 3.0: [[0.1, 0.1, 0.1], [0.1, 0.1]]}
    assert chosen(gains, doubt=doubt) == 2.0


def test_what_one_task_gains_by_is_no_evidence_against_what_training_learned() -> None:
    gains = {1.0: NOTHING, 2.0: [[0.9, -0.2, -0.2], [-0.2, 0.9]]}  # .26 better, with a standard error of .34
    assert chosen(gains, doubt=1.0) == 1.0
    assert chosen(gains, doubt=0.5) == 2.0
    assert chosen(gains) == 2.0


def test_nothing_worse_is_chosen_where_there_is_something_to_keep() -> None:
    gains = {1.0: NOTHING, 2.0: [[-0.1] * 3, [-0.1] * 2]}
    assert chosen(gains, doubt=1.0) == 1.0


def test_every_number_of_shots_counts_the_same_however_many_tasks_it_has() -> None:
    gains = {1.0: NOTHING, 2.0: [[0.1, 0.1, 0.1], [-0.2, -0.2]], 3.0: [[0.0, 0.0, 0.0], [0.01, 0.01]]}
    assert chosen(gains) == 3.0


def test_what_gains_with_few_examples_and_loses_with_many_is_not_believed() -> None:
    gains = {1.0: NOTHING, 2.0: [[0.5, 0.4, 0.5], [-0.2, -0.22]], 3.0: [[0.2, 0.2, 0.2], [-0.1, 0.09]]}
    assert chosen(gains) == 2.0
    assert chosen(gains, doubt=0.5) == 3.0


def test_a_small_loss_may_be_the_price_of_a_large_gain() -> None:
    gains = {1.0: NOTHING, 2.0: [[-0.02, -0.02, -0.02], [0.2, 0.3]]}
    assert chosen(gains, doubt=0.5) == 2.0


def test_a_single_task_is_believed() -> None:
    assert chosen({1.0: [[0.0]], 2.0: [[0.1]]}, doubt=1.0) == 2.0
