"""Diagonal Gaussians against torch's own."""

import math

import pytest
import torch
from torch import Generator
from torch.distributions import Normal, kl_divergence

from npcmeta.variational import Gaussian, bounded, divergence, unbounded


def test_divergence_is_that_of_torch() -> None:
    numbers = torch.randn(4, 50, generator=Generator().manual_seed(0), dtype=torch.float64)
    left, right = Gaussian(numbers[0], numbers[1]), Gaussian(numbers[2], numbers[3])
    expected = kl_divergence(Normal(left.mean, left.log_std.exp()), Normal(right.mean, right.log_std.exp()))
    torch.testing.assert_close(divergence(left, right), expected)
    torch.testing.assert_close(divergence(left, left), torch.zeros(50, dtype=torch.float64))


def test_a_draw_has_the_distributions_mean_and_spread() -> None:
    found = Gaussian(torch.tensor(3.0), torch.tensor(math.log(0.5))).draw(torch.tensor([0.0, 1.0, -2.0]))
    assert found.tolist() == pytest.approx([3.0, 3.5, 2.0])


def test_bounds_hold_for_any_number_and_come_back() -> None:
    found = bounded(torch.tensor([-1e4, 0.0, 1e4]), -6.0, 2.0)
    assert found.tolist() == pytest.approx([-6.0, -2.0, 2.0])
    raw = torch.tensor(unbounded(0.05, -6.0, 0.0), dtype=torch.float64)
    assert float(torch.exp(bounded(raw, -6.0, 0.0))) == pytest.approx(0.05)
