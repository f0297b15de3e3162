"""The tuned networks of `bayes` have nothing to say without examples, half of it with many, and are trained apart."""

import pytest
import torch
from torch import Generator

from npcmeta import networks
from npcmeta.learners.bayes_tuned import INNER_RATE, PRIOR_EXAMPLES
from npcmeta.types import Learner, Params, Task
from tests import toys


@pytest.mark.parametrize(("shots", "share"), [(0, 0.0), (5, 0.5 * 5 / 15), (30, 0.5 * 30 / 40)])
def test_the_share_grows_with_the_examples(shots: int, share: float) -> None:
    learner = toys.small_settings("bayes-tuned", prior_examples=10.0).build(toys.spec("mixed"))
    meta = learner.init(Generator().manual_seed(0))
    state = learner.begin(meta, 2, torch.zeros(2, learner.noise_size))
    assert state["share"].tolist() == [[0.0]] * 2
    state = learner.update(meta, state, toys.draw_task("mixed", 2, shots).support)
    assert state["share"].flatten().tolist() == pytest.approx([share] * 2)


def test_each_part_is_trained_as_it_is_alone() -> None:
    task, spec = toys.draw_task("mixed", 4, 6), toys.spec("mixed")
    tuner = toys.small_settings("fomaml", inner_rate=INNER_RATE, prior_examples=PRIOR_EXAMPLES).build(spec)
    learner, light = (toys.small_settings(name).build(spec) for name in ("bayes-tuned", "bayes"))
    meta = learner.init(Generator().manual_seed(0))
    tuned = gradients(tuner, networks.under_prefix("tuned.0.", meta), task)
    own = gradients(light, {key: value for key, value in meta.items() if not key.startswith("tuned.")}, task)
    toys.assert_close(gradients(learner, meta, task), own | networks.with_prefix("tuned.0.", tuned), 1e-6)


def gradients(learner: Learner, meta: Params, task: Task) -> Params:
    leaves = {key: value.clone().requires_grad_() for key, value in meta.items()}
    learner.meta_loss(leaves, task, Generator().manual_seed(0))[0].backward()
    return {key: value.grad for key, value in leaves.items() if value.grad is not None}
