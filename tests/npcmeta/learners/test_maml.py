"""MAML's step size: it grows with the number of examples, and is the paper's where nothing else was asked for."""

import dataclasses

import pytest
import torch
from torch import Generator

from npcmeta.inner_loop import step_size
from npcmeta.learners.maml import MamlSettings
from tests import toys


def test_step_size_is_the_papers_by_default() -> None:
    settings, shots = MamlSettings(), torch.tensor([1.0, 500.0])
    assert step_size(settings.inner_rate, settings.prior_examples, shots).tolist() == pytest.approx([0.1, 0.1])


def test_step_size_grows_with_the_examples_up_to_the_inner_rate() -> None:
    found = step_size(0.3, 100.0, torch.tensor([0.0, 20.0, 100.0, 500.0, 1e9]))
    assert found.tolist() == pytest.approx([0.0, 0.05, 0.15, 0.25, 0.3])


def test_a_strong_prior_moves_a_character_less() -> None:
    support = toys.draw_task("mixed", 4, 5).support
    moved = []
    for prior in (0.0, 20.0):
        settings = dataclasses.replace(toys.small_settings("maml"), prior_examples=prior)  # type: ignore[type-var]
        learner = settings.build(toys.spec("mixed"))
        meta = learner.init(Generator().manual_seed(0))
        state = learner.update(meta, learner.begin(meta, 4, torch.zeros(4, 0)), support)
        moved.append((state["0.weight"] - meta["0.weight"]).norm())
    assert moved[1] < 0.5 * moved[0]


def test_dropout_is_for_training_only() -> None:
    settings = dataclasses.replace(toys.small_settings("maml"), dropout=0.5)  # type: ignore[type-var]
    learner, task = settings.build(toys.spec("mixed")), toys.draw_task("mixed", 4, 5)
    meta = learner.init(Generator().manual_seed(0))
    state = learner.begin(meta, 4, torch.zeros(4, 0))
    first, again = (learner.predict(meta, state, task.query.observation) for _ in range(2))
    assert torch.equal(first, again)
