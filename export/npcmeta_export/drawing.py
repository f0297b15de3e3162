"""Noise that the graph draws itself, for engines that hand it nothing but observations.

A random number generator that is not seeded by whoever runs the file may begin at the same point in every session of a
process (onnxruntime's does, for the same place in a graph), and a crowd would act in unison. So what the generator
draws is turned, on the circle of length 1, by an angle that depends on the observation and on the state: uniform
numbers stay uniform, and characters who see different things or are different do not share draws.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from npcmeta.types import ActionSpec, Params

MARGIN = 1e-6
"""Uniform numbers keep this distance from 0 and 1, where logarithms end."""
SCATTER = 1000.0
"""How many times around the circle an angle goes: nearly equal observations are to have quite different ones."""


def draw_noise(observation: Tensor, state: Params, action: ActionSpec) -> Tensor:
    """Noise [n, C + W] for `Head.sample`: standard normal, then standard Gumbel.

    Normal numbers are made from two uniform ones each (Box and Muller 1958).
    """
    continuous, choices = action.continuous_size, action.mask_size
    uniform = draw_uniform(observation, state, 2 * continuous + choices)
    radius, angle, gumbel = uniform.split([continuous, continuous, choices], -1)
    normal = torch.sqrt(-2 * torch.log(radius)) * torch.cos(2 * math.pi * angle)
    return torch.cat([normal, -torch.log(-torch.log(gumbel))], -1)


def draw_uniform(observation: Tensor, state: Params, columns: int) -> Tensor:
    """Numbers uniform in (0, 1), [n, columns]: a fresh draw, turned by the angle of the observation and the state."""
    angle = torch.sin(observation @ directions(observation.shape[-1], columns) + phase(state)) * SCATTER
    turned = torch.rand_like(angle) + angle
    return (turned - torch.floor(turned)).clamp(MARGIN, 1 - MARGIN)


def directions(size: int, columns: int) -> Tensor:
    """In which proportions observations add up to angles, [O, columns]; always the same."""
    drawn = np.random.default_rng(0).standard_normal((size, columns), np.float32)  # a constant to the tracer
    return torch.from_numpy(drawn / np.float32(math.sqrt(size)))


def phase(state: Params) -> Tensor:
    """What tells one state from another, [n, 1] or [1, 1]."""
    weighed = [(index + 1) * value.flatten(1).sum(-1, keepdim=True) for index, value in enumerate(state.values())]
    return torch.stack(weighed).sum(0)
