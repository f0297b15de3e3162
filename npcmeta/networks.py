"""Multi-layer perceptrons as pure functions on shared or stacked weights, with a hand-written backward pass.

A weight is [in, out] when all tasks share it and [T, in, out] when each task has its own; inputs are [T, N, in]. The
same expressions serve both, so no `vmap` is needed, and the backward pass needs no autograd: it is built of ordinary
tensor operations, which autograd can differentiate again (second-order MAML) and which export to ONNX.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Generator, Tensor

from npcmeta.types import Params

Activation = Literal["relu", "tanh"]

ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "relu": (torch.relu, lambda h: torch.sign(h.detach())),  # several times as fast as comparing and converting
    "tanh": (torch.tanh, lambda h: 1 - h.square()),
}
"""Name -> (function, its derivative written in terms of its output)."""


def init_mlp(generator: Generator, sizes: tuple[int, ...], *, last_scale: float = 0.1) -> Params:
    """Draws weights `{i}.weight` [in, out] and biases `{i}.bias` [out] for layers of the given sizes.

    He-scaled uniform weights; those of the last layer are made smaller by `last_scale`, so that an untrained
    network is nearly indifferent and the inner loop starts gently.
    """
    params: Params = {}
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        bound = math.sqrt(6 / fan_in) * (last_scale if i == len(sizes) - 2 else 1.0)
        # In place, because out of place the same arithmetic on torch's "meta" device imports for more than a second.
        params[f"{i}.weight"] = torch.rand(fan_in, fan_out, generator=generator).mul_(2).sub_(1).mul_(bound)
        params[f"{i}.bias"] = torch.zeros(fan_out)
    return params


def depth(params: Params) -> int:
    """Number of layers."""
    return sum(key.endswith(".weight") for key in params)


def forward(params: Params, x: Tensor, activation: str) -> tuple[Tensor, list[Tensor]]:
    """Runs the network on x [T, N, in].

    Returns:
        The output [T, N, out], and the inputs of every layer, which `backward` needs.
    """
    function, _ = ACTIVATIONS[activation]
    inputs = []
    for i in range(depth(params)):
        inputs.append(x)
        x = affine(params, i, x)
        x = function(x) if i < depth(params) - 1 else x
    return x, inputs


def backward(params: Params, inputs: list[Tensor], output_gradient: Tensor, activation: str) -> Params:
    """Gradients of every task's own weights, [T, in, out] and [T, out], from the gradient at the output [T, N, out]."""
    _, slope = ACTIVATIONS[activation]
    gradients: Params = {}
    delta = output_gradient
    for i in reversed(range(depth(params))):
        gradients[f"{i}.weight"] = inputs[i].transpose(-1, -2) @ delta
        gradients[f"{i}.bias"] = delta.sum(-2)
        if i:
            delta = (delta @ params[f"{i}.weight"].transpose(-1, -2)) * slope(inputs[i])
    return gradients


def forward_with_dropout(params: Params, x: Tensor, activation: str, rate: float, generator: Generator) -> Tensor:
    """Runs the network on x [T, N, in] with inverted dropout behind every hidden layer (for training only)."""
    function, _ = ACTIVATIONS[activation]
    for i in range(depth(params)):
        x = affine(params, i, x)
        if i < depth(params) - 1:
            x = dropout(function(x), rate, generator)
    return x


def dropout(x: Tensor, rate: float, generator: Generator) -> Tensor:
    """Zeroes each value with probability `rate` and scales up the others; the randomness is the generator's."""
    if rate == 0.0:
        return x
    return x * draw_kept(x.shape, rate, generator, x.dtype)


def draw_kept(shape: Sequence[int], rate: float, generator: Generator, dtype: torch.dtype) -> Tensor:
    """What dropout multiplies by: 0 with probability `rate`, otherwise 1 / (1 - rate)."""
    return (torch.rand(*shape, generator=generator, dtype=dtype) >= rate) / (1 - rate)


def affine(params: Params, layer: int, x: Tensor) -> Tensor:
    """One layer without its activation; weights shared by all tasks or one set for each."""
    return x @ params[f"{layer}.weight"] + params[f"{layer}.bias"].unsqueeze(-2)


def with_prefix(prefix: str, params: Params) -> Params:
    """The same tensors under `prefix` + key."""
    return {prefix + key: value for key, value in params.items()}


def under_prefix(prefix: str, params: Params) -> Params:
    """The tensors whose keys begin with `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in params.items() if key.startswith(prefix)}
