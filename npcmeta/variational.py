"""Diagonal Gaussians over latent variables and weights: bounded spreads, draws, and how far one is from another."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Gaussian(NamedTuple):
    """Independent normal distributions."""

    mean: Tensor
    log_std: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """The value that standard normal noise stands for; noise of zero is the mean."""
        return self.mean + torch.exp(self.log_std) * noise


def bounded(raw: Tensor, low: float, high: float) -> Tensor:
    """A smooth map from any number into (low, high); a raw value of 0 is the middle."""
    return low + (high - low) * torch.sigmoid(raw)


def divergence(left: Gaussian, right: Gaussian) -> Tensor:
    """KL(left || right) of each element, in nats."""
    ratio = torch.exp(2 * (left.log_std - right.log_std))
    distance = ((left.mean - right.mean) * torch.exp(-right.log_std)).square()
    return 0.5 * (ratio + distance - 1) + right.log_std - left.log_std


def unbounded(std: float, low: float, high: float) -> float:
    """The raw value that `bounded` maps to the logarithm of `std`."""
    share = (math.log(std) - low) / (high - low)
    return math.log(share / (1 - share))
