"""The tuned networks of `bayes` have nothing to say without examples, and half of it with very many."""

import pytest
import torch
from torch import Generator

from tests import toys


@pytest.mark.parametrize(("shots", "share"), [(0, 0.0), (5, 0.5 * 5 / 15), (30, 0.5 * 30 / 40)])
def test_the_share_grows_with_the_examples(shots: int, share: float) -> None:
    learner = toys.small_settings("bayes-tuned", prior_examples=10.0).build(toys.spec("mixed"))
    meta = learner.init(Generator().manual_seed(0))
    state = learner.begin(meta, 2, torch.zeros(2, learner.noise_size))
    assert state["share"].tolist() == [[0.0]] * 2
    state = learner.update(meta, state, toys.draw_task("mixed", 2, shots).support)
    assert state["share"].flatten().tolist() == pytest.approx([share] * 2)
