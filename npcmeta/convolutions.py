"""A convolutional network as pure functions on shared or stacked weights, with a hand-written backward pass.

It is to pictures what `npcmeta/networks.py` is to vectors: no `vmap`, no autograd, ordinary operations only, which
autograd can differentiate again. A convolution is a matrix product with the 3 x 3 surroundings of every place, so a
kernel is [9 * in, out] when all tasks share it and [T, 9 * in, out] when each task has its own.

The network is the one that MAML and Reptile have for Omniglot (Finn et al. 2017, section 5.2; Nichol et al. 2018): four
blocks that halve the sides with their stride, and a linear layer. Deviation: every picture is normalised on its own, as
in `npcmeta/images.py`, and not with its batch, which no NPC has.

Shape letters besides those of `npcmeta/types.py`: h, w the sides of a block's input or output, c its channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from npcmeta import networks
from npcmeta.images import BLOCKS
from npcmeta.types import Params

KERNEL = 3
LAST = f"{BLOCKS}."
"""Prefix of the linear layer behind the blocks."""


class Trace(NamedTuple):
    """What the way back through a block needs."""

    shape: torch.Size  # of the block's input
    columns: Tensor  # the surroundings of every place of its output, [T, N * h * w, 9 * c]
    normal: Tensor  # normalised outputs [T, N, h * w, out]
    scale: Tensor  # what normalising multiplied them by, [T, N, 1, 1]
    output: Tensor  # [T, N, h, w, out]


def init_network(generator: Generator, image: tuple[int, ...], filters: int, outputs: int) -> Params:
    """Draws `{i}.weight`, He-scaled uniform, `{i}.scale` and `{i}.shift` [out] of each block, and the last layer."""
    params: Params = {}
    height, width, channels = (*image, 1)[:3]
    for block in range(BLOCKS):
        bound = math.sqrt(6 / (KERNEL * KERNEL * channels))
        drawn = torch.rand(KERNEL * KERNEL * channels, filters, generator=generator)
        params[f"{block}.weight"] = drawn.mul_(2).sub_(1).mul_(bound)
        params[f"{block}.scale"], params[f"{block}.shift"] = torch.ones(filters), torch.zeros(filters)
        height, width, channels = _halved(height), _halved(width), filters
    last = networks.init_mlp(generator, (height * width * filters, outputs))
    return params | networks.with_prefix(LAST, networks.under_prefix("0.", last))


def forward(params: Params, observation: Tensor, image: tuple[int, ...]) -> tuple[Tensor, list[Trace]]:
    """Runs the network on pictures [T, N, O].

    Returns:
        The output [T, N, P], and what `layer_gradients` needs.
    """
    x, traces = run_blocks(params, as_pictures(observation, image), range(BLOCKS))
    return last_layer(params, x), traces


def as_pictures(observation: Tensor, image: tuple[int, ...]) -> Tensor:
    """Observations [T, N, O] as pictures [T, N, h, w, c]."""
    return observation.reshape(*observation.shape[:2], *(*image, 1)[:3])


def run_blocks(params: Params, x: Tensor, blocks: range) -> tuple[Tensor, list[Trace]]:
    """Runs x [T, N, h, w, c] through some of the blocks: convolution, normalisation, rectifier."""
    traces = []
    for block in blocks:
        shape, columns = x.shape, surroundings(x)
        tasks, pictures, high, wide, _ = columns.shape
        columns = columns.flatten(1, 3)
        convolved = columns @ params[f"{block}.weight"]
        centred = convolved.reshape(tasks, pictures, high * wide, convolved.shape[-1])
        centred = centred - centred.mean((-2, -1), keepdim=True)
        scale = torch.rsqrt(centred.square().mean((-2, -1), keepdim=True) + 1e-5)
        normal = centred * scale
        x = torch.relu(normal * _of_channels(params[f"{block}.scale"]) + _of_channels(params[f"{block}.shift"]))
        x = x.reshape(tasks, pictures, high, wide, x.shape[-1])
        traces.append(Trace(shape, columns, normal, scale, x))
    return x, traces


def last_layer(params: Params, x: Tensor) -> Tensor:
    """The linear layer on what the last block puts out, [T, N, h, w, c] to [T, N, P]."""
    return x.flatten(2) @ params[f"{LAST}weight"] + params[f"{LAST}bias"].unsqueeze(-2)


def backward(params: Params, traces: list[Trace], output_gradient: Tensor) -> Params:
    """Gradients of every task's own weights, from the gradient at the output [T, N, P]."""
    gradients: Params = {}
    for layer in layer_gradients(params, traces, output_gradient):
        gradients |= layer
    return gradients


def layer_gradients(params: Params, traces: list[Trace], output_gradient: Tensor) -> Iterator[Params]:
    """The gradients of the last layer, then of each block that was traced, from the last to the first."""
    features = traces[-1].output.flatten(2)
    yield {
        f"{LAST}weight": features.transpose(-1, -2) @ output_gradient,
        f"{LAST}bias": output_gradient.sum(-2),
    }
    pulled = output_gradient @ params[f"{LAST}weight"].transpose(-1, -2)
    for block, trace in zip(reversed(range(BLOCKS)), reversed(traces), strict=False):
        slope = (pulled.reshape(trace.output.shape) * torch.sign(trace.output.detach())).reshape(trace.normal.shape)
        convolved = _before_normalising(trace, slope * _of_channels(params[f"{block}.scale"]))
        yield {
            f"{block}.weight": trace.columns.transpose(-1, -2) @ convolved,
            f"{block}.scale": (slope * trace.normal).sum((-3, -2)),
            f"{block}.shift": slope.sum((-3, -2)),
        }
        if trace is not traces[0]:
            columns = convolved @ params[f"{block}.weight"].transpose(-1, -2)
            pulled = from_surroundings(
                columns.reshape(*trace.output.shape[:4], KERNEL, KERNEL, trace.shape[-1]), trace.shape
            )


def surroundings(x: Tensor) -> Tensor:
    """Every second place with its neighbours, zeros beyond the edge: [T, N, h, w, c] to [T, N, h', w', 9 * c]."""
    high, wide = (2 * _halved(side) - 1 for side in x.shape[2:4])
    padded = torch.nn.functional.pad(x, (0, 0, 1, 1, 1, 1))
    shifts = [(down, right) for down in range(KERNEL) for right in range(KERNEL)]
    return torch.cat([padded[:, :, down : down + high : 2, right : right + wide : 2] for down, right in shifts], -1)


def from_surroundings(columns: Tensor, shape: torch.Size) -> Tensor:
    """The transpose of `surroundings`: adds [T, N, h', w', 3, 3, c] up where it came from, [T, N, h, w, c]."""
    rows = _interleaved(columns, 2)
    places = _interleaved(rows, 3)
    return places[:, :, 1 : shape[2] + 1, 1 : shape[3] + 1]


def _interleaved(columns: Tensor, axis: int) -> Tensor:
    """What is before, at and behind (axis 4) each place of an axis, added up on twice as many places of it."""
    before, at, after = columns.unbind(4)
    beyond = torch.zeros_like(at.narrow(axis, 0, 1))
    shared = torch.cat([before, beyond], axis) + torch.cat([beyond, after], axis)
    return torch.stack([shared, torch.cat([at, beyond], axis)], axis + 1).flatten(axis, axis + 1)


def _before_normalising(trace: Trace, slope: Tensor) -> Tensor:
    """From the gradient at the normalised outputs to that at the convolution's, [T, N * h * w, out]."""
    along = (slope * trace.normal).mean((-2, -1), keepdim=True)
    convolved = trace.scale * (slope - slope.mean((-2, -1), keepdim=True) - trace.normal * along)
    return convolved.flatten(1, 2)


def _of_channels(values: Tensor) -> Tensor:
    """[out] or [T, out] so that it broadcasts to [T, N, h * w, out]."""
    return values.unsqueeze(-2).unsqueeze(-2)


def _halved(side: int) -> int:
    return (side + 1) // 2
