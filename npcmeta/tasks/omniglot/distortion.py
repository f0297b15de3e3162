"""Distorts drawings as other hands would have drawn them: slanted, stretched, wavering, with another pen."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional


class Distortion(NamedTuple):
    """How much drawings are distorted; all of it uniform between minus and plus this."""

    turn: float = 15.0  # degrees
    shear: float = 0.3  # share of the height
    stretch: float = 0.25  # logarithm of the factor, along each axis
    shift: float = 0.12  # share of half a side
    waver: float = 0.08  # standard deviation of smooth displacements, as a share of half a side
    ink: float = 0.5  # logarithm of the factor


WAVES = 5
"""Displacements are drawn on a lattice of so many points a side, and interpolated."""


def distort(pictures: Tensor, amount: Distortion, generator: Generator) -> Tensor:
    """Distorts each of the pictures [N, H, W], values in [0, 1], in its own way."""
    count, height, width = pictures.shape
    grid = functional.affine_grid(_maps(count, amount, generator), [count, 1, height, width], align_corners=False)
    waver = amount.waver * torch.randn(count, 2, WAVES, WAVES, generator=generator)
    grid = grid + functional.interpolate(waver, (height, width), mode="bicubic").permute(0, 2, 3, 1)
    moved = functional.grid_sample(pictures.unsqueeze(1), grid, align_corners=False).squeeze(1)
    ink = torch.exp(amount.ink * _uniform(generator, count))
    return (moved * ink.reshape(-1, 1, 1)).clamp(0.0, 1.0)


def _maps(count: int, amount: Distortion, generator: Generator) -> Tensor:
    """Affine maps [N, 2, 3] from where a pixel is to where it is taken from."""
    turn = math.radians(amount.turn) * _uniform(generator, count)
    shear = amount.shear * _uniform(generator, count)
    wide, high = (torch.exp(amount.stretch * _uniform(generator, count)) for _ in range(2))
    right, down = (amount.shift * _uniform(generator, count) for _ in range(2))
    cos, sin = torch.cos(turn), torch.sin(turn)
    rows = [torch.stack([wide * cos, high * (shear * cos - sin), right], -1)]
    rows.append(torch.stack([wide * sin, high * (shear * sin + cos), down], -1))
    return torch.stack(rows, 1)


def _uniform(generator: Generator, count: int) -> Tensor:
    return 2 * torch.rand(count, generator=generator) - 1
