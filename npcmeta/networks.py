"""Multi-layer perceptrons as pure functions on shared or stacked weights, with a hand-written backward pass.

A weight is [in, out] when all tasks share it and [T, in, out] when each task has its own; inputs are [T, N, in]. The
same expressions serve both, so no `vmap` is needed, and the backward pass needs no autograd: it is built of ordinary
tensor operations, which autograd can differentiate again (second-order MAML) and which export to ONNX.

A network may have added inputs, which are parameters themselves: `added` [a] or [T, a] is what they are, the same for
every example, and `added_weight` is the part of the first layer that reads them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from torch import Generator, Tensor

from npcmeta.types import Params

Activation = Literal["relu", "tanh"]


def _relu_slope(h: Tensor) -> Tensor:
    """The derivative of relu. The sign is several times as fast as comparing; to onnxruntime, it is the slower one."""
    h = h.detach()
    return (h > 0).to(h.dtype) if torch.jit.is_tracing() else torch.sign(h)


ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "relu": (torch.relu, _relu_slope),
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


def init_mlp_with_added_inputs(generator: Generator, sizes: tuple[int, ...], added: int) -> Params:
    """Draws weights as `init_mlp` does, with `added` inputs that are zero; without any, exactly what it draws."""
    params = init_mlp(generator, (sizes[0] + added, *sizes[1:]))
    if added:
        observed, rest = params["0.weight"].split([sizes[0], added])
        params |= {"0.weight": observed.clone(), "added_weight": rest.clone(), "added": torch.zeros(added)}
    return params


def depth(params: Params) -> int:
    """Number of layers."""
    return sum(key.endswith(".weight") for key in params)


def forward(params: Params, x: Tensor, activation: str) -> tuple[Tensor, list[Tensor]]:
    """Runs the network on x [T, N, in], or with shared weights on rows [N, in].

    Returns:
        The output [T, N, out] or [N, out], and the inputs of every layer, which `backward` needs.
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
    gradients: Params = {}
    for i, delta in layer_gradients(params, inputs, output_gradient, activation):
        gradients[f"{i}.weight"] = inputs[i].transpose(-1, -2) @ delta
        gradients[f"{i}.bias"] = delta.sum(-2)
    if "added" in params:
        gradients["added"] = _added_gradient(params, gradients["0.bias"])
        gradients["added_weight"] = params["added"].unsqueeze(-1) * gradients["0.bias"].unsqueeze(-2)
    return gradients


def backward_to_added_inputs(params: Params, inputs: list[Tensor], output_gradient: Tensor, activation: str) -> Tensor:
    """Gradient of every task's added inputs alone [T, a], from the gradient at the output [T, N, out]."""
    *_, (_, delta) = layer_gradients(params, inputs, output_gradient, activation)
    return _added_gradient(params, delta.sum(-2))


def layer_gradients(
    params: Params, inputs: list[Tensor], output_gradient: Tensor, activation: str
) -> Iterator[tuple[int, Tensor]]:
    """Each layer, from the last to the first, with the gradient before its activation [T, N, out of the layer]."""
    _, slope = ACTIVATIONS[activation]
    delta = output_gradient
    for i in reversed(range(depth(params))):
        yield i, delta
        if i:
            delta = (delta @ params[f"{i}.weight"].transpose(-1, -2)) * slope(inputs[i])


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
    """One layer without its activation; weights shared by all tasks, or one set for each.

    Rows [N, in], of whatever tasks they are, are the fastest form for shared weights: nothing is written twice.
    """
    weight, bias = params[f"{layer}.weight"], params[f"{layer}.bias"]
    x = torch.addmm(bias, x, weight) if x.dim() == 2 else x @ weight + bias.unsqueeze(-2)
    if layer == 0 and "added" in params:
        x = x + params["added"].unsqueeze(-2) @ params["added_weight"]
    return x


def with_prefix(prefix: str, params: Params) -> Params:
    """The same tensors under `prefix` + key."""
    return {prefix + key: value for key, value in params.items()}


def under_prefix(prefix: str, params: Params) -> Params:
    """The tensors whose keys begin with `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in params.items() if key.startswith(prefix)}


def _added_gradient(params: Params, first_layer: Tensor) -> Tensor:
    """Gradient of the added inputs [T, a] from that of the first layer's bias [T, out]."""
    return (first_layer.unsqueeze(-2) @ params["added_weight"].transpose(-1, -2)).squeeze(-2)
