"""SGD on the support sets from weights that all tasks share: the inner loop of MAML, exact and fast.

Each layer is in the form that is the smallest for as many examples and steps as there are, see `npcmeta/layers.py`.
No step calls autograd, but autograd can differentiate them; `npcmeta/meta_gradient.py` does that faster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from npcmeta import inner_loop, networks
from npcmeta.layers import FirstLayer, HistoryLayer, Layer, StackedLayer
from npcmeta.types import Examples, Head, Params


class Descent(NamedTuple):
    """How the inner loop goes down."""

    activation: str  # of the network
    rate: float | Tensor  # step size, a number or one for each task [T]
    steps: int
    clip: float | None  # largest gradient norm of one task; None leaves gradients as they are


class Step(NamedTuple):
    """One step: what it saw, what it did, and where it led."""

    inputs: list[Tensor]  # of every layer, [T, S, in]
    output: Tensor  # [T, S, P]
    moves: list[Tensor]  # of every layer before clipping, [T, S, out]
    scale: Tensor | None  # what clipping multiplies the moves by, [T, 1, 1]
    layers: list[Layer]  # after the step


def smaller_as_history(rows: int, fan_in: int, fan_out: int) -> bool:
    """Whether so many rows of inputs and moves are fewer numbers than the weights that they change."""
    return rows * (fan_in + fan_out) < fan_in * fan_out


def begin(shared: Params, support: Examples, steps: int) -> list[Layer]:
    """The layers before the first of `steps` steps from weights [in, out] and biases [out], or each task's own."""
    tasks, shots = support.weight.shape
    layers: list[Layer] = []
    for i in range(networks.depth(shared)):
        weight, bias = shared[f"{i}.weight"], shared[f"{i}.bias"]
        fan_in, fan_out = weight.shape[-2:]
        # The first layer sees the same inputs in every step.
        if not smaller_as_history(shots * (steps if i else 1), fan_in, fan_out):
            own = (weight.expand(tasks, *weight.shape), bias.expand(tasks, 1, *bias.shape))
            layers.append(StackedLayer(*own) if weight.dim() == 2 else StackedLayer(weight, bias.unsqueeze(1)))
        elif i:
            layers.append(HistoryLayer(weight, bias))
        else:
            layers.append(FirstLayer.begin(weight, bias, support.observation))
    return layers


def begin_from(state: Params, support: Examples, steps: int) -> list[Layer]:
    """The layers before the first of `steps` steps from every task's own weights [T, in, out] and biases [T, out].

    That they are views of shared ones, as `inner_loop.stack` makes them, is seen by their strides; without any task
    there is nothing to share.
    """
    if all(value.stride(0) == 0 and len(value) for value in state.values()):
        return begin({key: value[0] for key, value in state.items()}, support, steps)
    return begin(state, support, steps)


def adapt(head: Head, layers: list[Layer], support: Examples, descent: Descent) -> list[Layer]:
    """The layers after SGD on every task's weighted mean NLL.

    Args:
        head: Turns outputs into a likelihood.
        layers: Where to begin, from `begin` or `begin_from`.
        support: The support sets.
        descent: How to go down.
    """
    for step in run(head, layers, support, descent, in_place=True):
        layers = step.layers
    return layers


def sgd_states(head: Head, state: Params, support: Examples, descent: Descent) -> Iterator[Params]:
    """Every task's own weights before the first step and after each one, the last as `adapt` makes them, to the bit."""
    yield state
    for step in run(head, begin_from(state, support, descent.steps), support, descent):
        yield weights(step.layers)


def run(
    head: Head, layers: list[Layer], support: Examples, descent: Descent, *, in_place: bool = False
) -> Iterator[Step]:
    """The steps of SGD, one by one; with `in_place`, the layers of one are overwritten by the next."""
    pace, limit = pace_of(support, descent.rate), longest_step(support, descent)
    for _ in range(descent.steps):
        step = take_step(head, layers, support, descent.activation, pace, limit)
        # What a step has made is nobody else's.
        layers = [overwritable(layer) for layer in step.layers] if in_place else step.layers
        yield step


def take_step(
    head: Head, layers: list[Layer], support: Examples, activation: str, pace: Tensor, limit: Tensor | None
) -> Step:
    """One step; `pace` and `limit` are those of `pace_of` and `longest_step`."""
    output, inputs = forward(layers, support.observation, activation)
    gradient = head.nll_gradient(output, support.action, support.action_mask)
    moves = pull_back(layers, inputs, gradient * pace, activation)
    rows = list(zip(layers, inputs, moves, strict=True))
    if limit is None:
        return Step(inputs, output, moves, None, [layer.moved(x, move) for layer, x, move in rows])
    squares, movers = zip(*(layer.measured(x, move) for layer, x, move in rows), strict=True)
    square, bound = torch.stack(squares).sum(0), limit.square()
    scale = torch.where(square > bound, limit * torch.rsqrt(torch.maximum(square, bound)), 1.0)
    return Step(inputs, output, moves, scale, [moved(scale) for moved in movers])


def forward(layers: Sequence[Layer], x: Tensor, activation: str) -> tuple[Tensor, list[Tensor]]:
    """The output, and the inputs of every layer."""
    function, _ = networks.ACTIVATIONS[activation]
    inputs = []
    for i, layer in enumerate(layers):
        inputs.append(x)
        x = layer.forward(x)
        x = function(x) if i < len(layers) - 1 else x
    return x, inputs


def pull_back(layers: Sequence[Layer], inputs: list[Tensor], move: Tensor, activation: str) -> list[Tensor]:
    """The move of every layer, from that of the last one."""
    _, slope = networks.ACTIVATIONS[activation]
    moves = [move]
    for layer, x in zip(reversed(layers[1:]), reversed(inputs[1:]), strict=True):
        pulled = layer.pull_back(moves[-1])
        moves.append(pulled * slope(x) if pulled.requires_grad else pulled.mul_(slope(x)))
    return moves[::-1]


def predict(layers: Sequence[Layer], observation: Tensor, activation: str, kept: Sequence[Tensor] = ()) -> Tensor:
    """Head parameters [T, Q, P]; `kept` multiplies what the hidden layers put out (dropout), each [T, Q, h]."""
    function, _ = networks.ACTIVATIONS[activation]
    x = observation
    for i, layer in enumerate(layers[:-1]):
        x = function(layer.forward(x))
        x = x * kept[i] if kept else x
    return layers[-1].forward(x)


def weights(layers: Sequence[Layer]) -> Params:
    """Every task's own weights, as `networks.forward` takes them."""
    built: Params = {}
    for i, layer in enumerate(layers):
        built[f"{i}.weight"], built[f"{i}.bias"] = layer.weights()
    return built


def pace_of(support: Examples, rate: float | Tensor) -> Tensor:
    """What a step multiplies the gradient of each example by: minus the step size, times the example's share."""
    shares = support.weight / inner_loop.total_weight(support)
    return (shares * -_per_task(support, rate)).unsqueeze(-1)


def longest_step(support: Examples, descent: Descent) -> Tensor | None:
    """The norm [T, 1, 1] that clipping lets no step exceed, never quite zero."""
    if descent.clip is None:
        return None
    return (_per_task(support, descent.rate) * descent.clip).clamp_min(1e-12).unsqueeze(-1)


def overwritable(layer: Layer) -> Layer:
    """The layer, free to change its weights in place unless autograd needs them."""
    return layer._replace(in_place=not layer.weight.requires_grad) if isinstance(layer, StackedLayer) else layer


def _per_task(support: Examples, rate: float | Tensor) -> Tensor:
    """The step size as [T, 1] or [1, 1]."""
    return torch.as_tensor(rate, dtype=support.weight.dtype).reshape(-1, 1)
