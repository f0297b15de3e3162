"""Adapting and predicting in one go, differentiable by the shared weights: the outer step of MAML.

Autograd through `dual.adapt` is exact, but keeps every intermediate result and adds up the derivatives by the histories
piece by piece. Here the inner loop is one operation of autograd, whose derivative is written by hand: it runs without
autograd, only what its steps saw and did is kept, and the way back goes through them from the last to the first.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from npcmeta import dual, networks
from npcmeta.dual import Descent
from npcmeta.evaluate import take_examples
from npcmeta.layers import FirstLayer, HistoryLayer, Layer, StackedLayer
from npcmeta.reverse import FirstReverse, HistoryReverse, Reverse, StackedReverse
from npcmeta.types import Examples, Head, Params

ROWS, MIN_TASKS, MAX_TASKS = 320, 16, 32
"""Support examples, and least and most tasks, that are adapted together: much for a product, little for the cache."""
BENDS = {"relu": None, "tanh": lambda h: -2 * h / (1 - h.square()).clamp_min(1e-30)}
"""Name of an activation -> derivative of its slope divided by the slope, in terms of its output; None is zero."""


class InnerLoop(NamedTuple):
    """What to adapt to, and how."""

    head: Head
    support: Examples
    descent: Descent


def predict_adapted(
    loop: InnerLoop, shared: Params, observation: Tensor, *, first_order: bool = False, kept: Sequence[Tensor] = ()
) -> Tensor:
    """Head parameters [T, Q, P] after the inner loop from shared weights, differentiable by those.

    Args:
        loop: The inner loop.
        shared: Weights of an MLP, [in, out] and [out].
        observation: The query sets', [T, Q, O].
        first_order: Whether the derivative by the shared weights shall be that by the adapted ones (FOMAML).
        kept: What multiplies the outputs of the hidden layers (dropout), each [T, Q, h].
    """
    tasks, shots = loop.support.weight.shape
    together = min(MAX_TASKS, max(MIN_TASKS, ROWS // max(shots, 1)))
    outputs = []
    for rows in (slice(first, first + together) for first in range(0, tasks, together)):
        part = loop._replace(support=take_examples(loop.support, rows), descent=_take_rates(loop.descent, rows))
        layers = _first_order(shared, part) if first_order else adapt(shared, part)
        outputs.append(dual.predict(layers, observation[rows], loop.descent.activation, [each[rows] for each in kept]))
    return torch.cat(outputs)


def adapt(shared: Params, loop: InnerLoop) -> list[Layer]:
    """The layers after the inner loop from shared weights, differentiable by those.

    Raises:
        ValueError: If autograd would have to differentiate by examples or step sizes, too.
    """
    with torch.no_grad():
        layers = dual.begin(shared, loop.support, loop.descent.steps)
    if not (torch.is_grad_enabled() and any(value.requires_grad for value in shared.values())):
        return dual.adapt(loop.head, layers, loop.support, loop.descent)
    constants = (loop.support.observation, loop.support.action.continuous, loop.support.weight, loop.descent.rate)
    if any(isinstance(value, Tensor) and value.requires_grad for value in constants):
        raise ValueError("examples and step sizes are constants here; dual.adapt can be differentiated by them")
    made = iter(_Adapt.apply(loop, *(shared[key] for key in _keys(shared))))
    for i, layer in enumerate(layers):
        if isinstance(layer, StackedLayer):
            layers[i] = StackedLayer(next(made), next(made))
        else:
            inputs = layer.inputs if isinstance(layer, FirstLayer) else next(made)
            layers[i] = HistoryLayer(shared[f"{i}.weight"], shared[f"{i}.bias"], (inputs, next(made)))
    return layers


def _first_order(shared: Params, loop: InnerLoop) -> list[Layer]:
    """The adapted layers, as if their derivative by the shared weights were the identity."""
    fixed = {key: value.detach() for key, value in shared.items()}
    layers = adapt(fixed, loop)
    for i, layer in enumerate(layers):
        weight, bias = shared[f"{i}.weight"], shared[f"{i}.bias"]
        if isinstance(layer, StackedLayer):
            layers[i] = StackedLayer(layer.weight + (weight - weight.detach()), layer.bias + (bias - bias.detach()))
        else:
            layer = layer.as_history() if isinstance(layer, FirstLayer) else layer
            layers[i] = layer._replace(weight=weight, bias=bias)
    return layers


class _Adapt(torch.autograd.Function):
    """From shared weights and biases to what the inner loop makes: stacked weights, histories, a first layer's moves.

    Kept are the output and the clipping of each step, and of each layer what its way back needs.
    """

    @staticmethod
    def forward(ctx: Any, loop: InnerLoop, *values: Tensor) -> tuple[Tensor, ...]:
        layers = dual.begin(_named(values), loop.support, loop.descent.steps)
        steps = list(dual.run(loop.head, layers, loop.support, loop.descent))
        scales = [step.scale for step in steps if step.scale is not None]
        made = [_made(layer) for layer in steps[-1].layers]
        groups = [
            list(values),
            [step.output for step in steps],
            scales,
            *(_kept(loop, i, steps) for i in range(len(made))),
        ]
        ctx.loop, ctx.sizes, ctx.made = loop, [len(group) for group in groups], [len(tensors) for tensors in made]
        ctx.save_for_backward(*itertools.chain(*groups))
        return tuple(itertools.chain(*made))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *bars: Tensor) -> tuple[Tensor | None, ...]:
        loop: InnerLoop = ctx.loop
        values, outputs, scales, *kept = _split(ctx.saved_tensors, ctx.sizes)
        layers = dual.begin(_named(values), loop.support, loop.descent.steps)
        parts = enumerate(zip(layers, kept, _split(bars, ctx.made), strict=True))
        reverses = [_reverse(loop, i, *part, scales) for i, part in parts]
        for m in reversed(range(loop.descent.steps)):
            _go_back(loop, reverses, m, outputs[m], scales[m] if scales else None)
        return None, *itertools.chain(*(reverse.total() for reverse in reverses))


def _made(layer: Layer) -> list[Tensor]:
    """What the inner loop has made of a layer."""
    if isinstance(layer, StackedLayer):
        return [layer.weight, layer.bias]
    history = (layer.as_history() if isinstance(layer, FirstLayer) else layer).history
    assert history is not None
    return list(history[1:] if isinstance(layer, FirstLayer) else history)


def _kept(loop: InnerLoop, i: int, steps: list[dual.Step]) -> list[Tensor]:
    """What the way back through a layer needs: its history, or what it began each step with, saw and did."""
    last = steps[-1].layers[i]
    if isinstance(last, HistoryLayer):
        return _made(last)
    inputs = [step.inputs[i] for step in steps] if isinstance(last, StackedLayer) else []
    if i == 0:
        return inputs + ([step.moves[0] for step in steps] if _first_moves_matter(loop) else [])
    return [step.layers[i].weights()[0] for step in steps[:-1]] + inputs + [step.moves[i] for step in steps]


def _first_moves_matter(loop: InnerLoop) -> bool:
    """Nothing is pulled back from the first layer: its moves are for clipping and for activations that bend."""
    return loop.descent.clip is not None or BENDS[loop.descent.activation] is not None


def _reverse(
    loop: InnerLoop, i: int, layer: Layer, kept: Sequence[Tensor], bars: Sequence[Tensor], scales: Sequence[Tensor]
) -> Reverse:
    """The way back through layer i."""
    steps = loop.descent.steps
    if isinstance(layer, FirstLayer):
        return FirstReverse(layer.inputs, layer.gram, kept, bars[0])
    if isinstance(layer, HistoryLayer):
        shots = loop.support.weight.shape[1]
        scale = torch.cat([each.expand(-1, shots, 1) for each in scales], 1) if scales else None
        return HistoryReverse(layer.weight, kept[0], kept[1], scale, bars, steps)
    weights, inputs, moves = _split(kept, [steps - 1 if i else 0, steps, steps])
    return StackedReverse([layer.weight, *weights], inputs, moves, bars)


def _go_back(loop: InnerLoop, reverses: list[Reverse], m: int, output: Tensor, scale: Tensor | None) -> None:
    """Goes back through step m."""
    first, deeper = reverses[0], [each for each in reverses[1:] if not isinstance(each, FirstReverse)]
    _, slope_of = networks.ACTIVATIONS[loop.descent.activation]
    bend_of = BENDS[loop.descent.activation]
    for reverse in reverses:
        reverse.enter(m)
    pull = None if scale is None else _pull(loop, reverses, m, scale)
    move_bars = [reverse.moved(m, scale, pull) for reverse in reverses]
    x_bars, slopes = [], []
    for i, reverse in enumerate(deeper):
        x, x_bar = reverse.input(m), reverse.moved_input(m)
        if bend_of is not None:
            x_bar = x_bar + move_bars[i] * reverses[i].move(m) * bend_of(x)
        x_bars.append(x_bar)
        slopes.append(slope_of(x))
        move_bars[i + 1] = reverse.pulled_back(m, move_bars[i] * slopes[i]).add_(move_bars[i + 1])
    z_bar = _back_through_head(loop, output, move_bars[-1])
    for reverse, x_bar, slope in zip(reversed(deeper), reversed(x_bars), reversed(slopes), strict=True):
        reverse.forwarded(m, z_bar)
        z_bar = reverse.input_bar(m, z_bar).add_(x_bar).mul_(slope)
    first.forwarded(m, z_bar)


def _pull(loop: InnerLoop, reverses: list[Reverse], m: int, scale: Tensor) -> Tensor:
    """Twice the derivative by the squared norm of the step, [T, 1, 1]; 0 where nothing was clipped."""
    limit = dual.longest_step(loop.support, loop.descent)
    assert limit is not None
    scale_bar = torch.stack([reverse.scale_bar(m) for reverse in reverses]).sum(0)
    return torch.where(scale < 1, -scale_bar * scale**3 / limit.square(), 0.0)


def _back_through_head(loop: InnerLoop, output: Tensor, move_bar: Tensor) -> Tensor:
    """From the derivative by the last layer's move to that by its output; a head's second derivative is autograd's."""
    with torch.enable_grad():
        output = output.detach().requires_grad_()
        gradient = loop.head.nll_gradient(output, loop.support.action, loop.support.action_mask)
        move = gradient * dual.pace_of(loop.support, loop.descent.rate)
    return torch.autograd.grad(move, output, move_bar)[0]


def _take_rates(descent: Descent, rows: slice) -> Descent:
    """The step sizes of the tasks of these rows."""
    rate = descent.rate
    return descent._replace(rate=rate[rows] if isinstance(rate, Tensor) and rate.dim() else rate)


def _keys(shared: Params) -> list[str]:
    return [f"{i}.{part}" for i in range(networks.depth(shared)) for part in ("weight", "bias")]


def _named(values: Sequence[Tensor]) -> Params:
    return {f"{i // 2}.{('weight', 'bias')[i % 2]}": value for i, value in enumerate(values)}


def _split(tensors: Sequence[Tensor], sizes: Sequence[int]) -> list[list[Tensor]]:
    rest = iter(tensors)
    return [list(itertools.islice(rest, size)) for size in sizes]
