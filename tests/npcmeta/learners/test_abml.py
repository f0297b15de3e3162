"""Amortized Bayesian meta-learning: its step by hand is the bound's gradient, and stable where the prior is narrow."""

import math

import pytest
import torch
from torch import Generator, Tensor

from npcmeta.learners.abml import variational_step
from npcmeta.variational import Gaussian, divergence
from tests import toys

ROWS = (3, 5)


def drawn(seed: int, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    return shift + scale * torch.randn(*ROWS, generator=Generator().manual_seed(seed), dtype=torch.float64)


def test_a_small_step_follows_the_gradient_of_the_bound() -> None:
    """The NLL is linear here, so that its gradient by the drawn weight is known."""
    gradient, noise, share, rate = drawn(0), drawn(1), torch.tensor([1.0, 0.1, 0.0]).double(), 1e-7
    mean, log_std = drawn(2).requires_grad_(), drawn(3, 0.3, -2.0).requires_grad_()
    anchor = Gaussian(drawn(4), drawn(5, 0.3, -2.0))
    loss = (gradient * (mean + log_std.exp() * noise)).sum()
    loss = loss + (share.unsqueeze(-1) * divergence(Gaussian(mean, log_std), anchor)).sum()
    slopes = torch.autograd.grad(loss, [mean, log_std])
    before = Gaussian(mean.detach(), log_std.detach())
    after = variational_step(rate, before, anchor, gradient, noise, share)
    for old, new, slope in zip(before, after, slopes, strict=True):
        torch.testing.assert_close((old - new) / rate, slope, rtol=1e-3, atol=1e-3)


def test_a_narrow_prior_holds_the_mean_and_does_not_throw_it_about() -> None:
    anchor = Gaussian(torch.zeros(ROWS), torch.full(ROWS, -6.0))
    belief = Gaussian(torch.ones(ROWS), torch.full(ROWS, -6.0))
    for _ in range(20):
        belief = variational_step(0.5, belief, anchor, torch.zeros(ROWS), torch.zeros(ROWS), torch.ones(3))
        assert belief.mean.abs().max() <= 1
    assert belief.mean.abs().max() < 1e-6


def test_spreads_stay_within_their_bounds_whatever_the_gradient() -> None:
    anchor = Gaussian(torch.zeros(ROWS), torch.full(ROWS, -3.0))
    for size in (-1e6, 1e6):
        found = variational_step(1.0, anchor, anchor, torch.full(ROWS, size), torch.ones(ROWS), torch.ones(3))
        assert (found.log_std >= -6).all()
        assert (found.log_std <= 0).all()


def test_the_meta_loss_is_the_sum_of_its_parts() -> None:
    learner = toys.small_settings("abml", kl_share=0.5, unadapted_share=0.3).build(toys.spec("mixed"))
    task, meta = toys.draw_task("mixed", 4, 5), learner.init(Generator().manual_seed(0))
    loss, parts = learner.meta_loss(meta, task, Generator().manual_seed(0))
    assert parts["kl"] > 0
    expected = parts["adapted_nll"] + 0.5 * parts["kl"] + 0.3 * parts["unadapted_nll"]
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_draws_are_judged_as_a_mixture_of_characters() -> None:
    learner = toys.small_settings("abml", draws=3).build(toys.spec("mixed"))
    task, meta = toys.draw_task("mixed", 4, 5, query_shots=7), learner.init(Generator().manual_seed(0))
    _, parts = learner.meta_loss(meta, task, Generator().manual_seed(0))
    noise = torch.randn(3 * 4, learner.noise_size, generator=Generator().manual_seed(0))
    likelihoods = []
    for draw in noise.split(4):
        state = learner.update(meta, learner.begin(meta, 4, draw), task.support)
        params = learner.predict(meta, state, task.query.observation)
        likelihoods.append(
            (-learner.head.nll(params, task.query.action, task.query.action_mask).sum(-1)).double().exp()
        )
    expected = -torch.stack(likelihoods).mean(0).log().mean() / 7
    assert parts["adapted_nll"] == pytest.approx(float(expected), rel=1e-5)


def test_draws_of_a_task_share_its_query_set() -> None:
    """With many draws the loss before adapting is the mixture's, which is never above the mean of the draws' own."""
    task, losses = toys.draw_task("mixed", 6, 3), []
    for draws in (1, 50):
        learner = toys.small_settings("abml", draws=draws, prior_std=0.5).build(toys.spec("mixed"))
        meta = learner.init(Generator().manual_seed(0))
        losses.append(learner.meta_loss(meta, task, Generator().manual_seed(0))[1]["unadapted_nll"])
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[1] < losses[0]
