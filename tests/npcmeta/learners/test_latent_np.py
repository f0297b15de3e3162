"""Latent neural process: the prior is standard normal, and what it is trained on is the bound."""

import pytest
import torch
from torch import Generator

from npcmeta import neural_process
from npcmeta.learners.latent_np import LatentNpSettings
from npcmeta.types import Learner, Params
from tests import toys


def built() -> tuple[Learner, Params]:
    settings = toys.small_settings("latent_np", unadapted_share=0.0)
    assert isinstance(settings, LatentNpSettings)
    learner = settings.build(toys.spec("mixed"))
    return learner, learner.init(Generator().manual_seed(0))


def test_without_examples_the_latent_variable_is_the_noise() -> None:
    learner, meta = built()
    noise, seen = torch.randn(3, learner.noise_size), toys.draw_task("mixed", 3, 0).query.observation
    state = learner.begin(meta, 3, noise)
    assert torch.equal(learner.embed(meta, state), noise)
    average = neural_process.decode(meta, None, seen, "relu")
    typical = learner.begin(meta, 3, torch.zeros(3, learner.noise_size))
    assert torch.equal(learner.predict(meta, typical, seen), average)
    assert not torch.equal(learner.predict(meta, state, seen), average)


def test_examples_leave_less_to_the_noise() -> None:
    learner, meta = built()
    support = toys.draw_task("mixed", 1, 50).support
    drawn = []
    for sign in (-1.0, 1.0):
        state = learner.begin(meta, 1, sign * torch.ones(1, learner.noise_size))
        drawn.append(learner.embed(meta, learner.update(meta, state, support)))
    assert ((drawn[1] - drawn[0]) > 0).all()
    assert ((drawn[1] - drawn[0]) < 2).all()


def test_the_meta_loss_is_the_sum_of_its_parts() -> None:
    learner = toys.small_settings("latent_np", unadapted_share=0.3).build(toys.spec("mixed"))
    task, meta = toys.draw_task("mixed", 4, 5), learner.init(Generator().manual_seed(0))
    loss, parts = learner.meta_loss(meta, task, Generator().manual_seed(0))
    assert parts["prior_kl"] > 0
    expected = parts["nll"] + parts["kl"] + 0.3 * (parts["average_nll"] + parts["prior_kl"])
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_the_bound_costs_nothing_where_the_query_set_tells_nothing_new() -> None:
    learner, meta = built()
    task = toys.draw_task("mixed", 4, 5)
    nothing = task._replace(query=task.query._replace(weight=torch.zeros_like(task.query.weight)))
    loss, metrics = learner.meta_loss(meta, task, Generator().manual_seed(0))
    assert metrics["kl"] > 0
    assert float(loss) == metrics["nll"] + metrics["kl"] or abs(float(loss) - metrics["nll"] - metrics["kl"]) < 1e-5
    assert learner.meta_loss(meta, nothing, Generator().manual_seed(0))[1]["kl"] == 0.0
