"""The three forms of a layer on the way back through the inner loop: derivatives of the meta-loss, by hand.

`x_bar` is the derivative by x. A step computes `z = layer.forward(x)`, later `pulled = layer.pull_back(move)`, and then
the layer after it from (x, move). The way back goes through these three in the opposite order, and collects what each
adds to the derivative by the layer's weights. See `npcmeta/layers.py` for the forms.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from npcmeta.layers import StackedLayer, change, dot, plus_change, product

TASKS_AT_ONCE = 16
"""Of how many tasks the rows are multiplied at a time, so that they stay in the cache."""


class StackedReverse:
    """Of a `StackedLayer`. The derivative by stacked weights is kept as such a layer: its algebra is the same."""

    def __init__(
        self, weights: Sequence[Tensor], inputs: Sequence[Tensor], moves: Sequence[Tensor], bars: Sequence[Tensor]
    ) -> None:
        """Takes what each step began with, saw and did, and the derivatives by the last weights and biases."""
        self._weights, self._inputs, self._moves = weights, inputs, moves
        self._bar = StackedLayer(bars[0].clone(memory_format=torch.contiguous_format), bars[1], in_place=True)

    def input(self, m: int) -> Tensor:
        """What the layer saw, [T, S, in]."""
        return self._inputs[m]

    def move(self, m: int) -> Tensor:
        """The layer's move before clipping, [T, S, out]."""
        return self._moves[m]

    def enter(self, m: int) -> None:
        """Begins with step m; those after it have been gone through."""

    def scale_bar(self, m: int) -> Tensor:
        """Derivative by what clipping multiplies the move by, [T, 1, 1]."""
        weight, bias = change(self._inputs[m], self._moves[m]), self._moves[m].sum(1, keepdim=True)
        self._change = StackedLayer(weight, bias)
        return dot(self._bar.weight, weight) + dot(self._bar.bias, bias)

    def moved(self, m: int, scale: Tensor | None, pull: Tensor | None) -> Tensor:
        """Back through clipping and moving to the move; `pull` is twice the derivative by its squared norm."""
        self._change_bar = self._bar
        if scale is not None and pull is not None:
            weight = torch.addcmul(self._bar.weight * scale, self._change.weight, pull)
            self._change_bar = StackedLayer(weight, torch.addcmul(self._bar.bias * scale, self._change.bias, pull))
        return self._change_bar.forward(self._inputs[m])

    def moved_input(self, m: int) -> Tensor:
        """Back through the move to the input, after `moved`."""
        return self._change_bar.pull_back(self._moves[m])

    def pulled_back(self, m: int, pulled_bar: Tensor) -> Tensor:
        """Back through `pull_back` to the move."""
        plus_change(self._bar.weight, pulled_bar, self._moves[m], in_place=True)
        return product(pulled_bar, self._weights[m])

    def forwarded(self, m: int, z_bar: Tensor) -> None:
        """Back through `forward`, as far as the weights are concerned."""
        self._bar = self._bar.moved(self._inputs[m], z_bar)

    def input_bar(self, m: int, z_bar: Tensor) -> Tensor:
        """Back through `forward` to the input, after `forwarded`."""
        return torch.bmm(z_bar, self._weights[m].mT)

    def total(self) -> tuple[Tensor, Tensor]:
        """Derivatives by the shared weight and bias, once all steps are gone through."""
        return self._bar.weight.sum(0), self._bar.bias.sum((0, 1))


class HistoryReverse:
    """Of a `HistoryLayer`: what each step did with the history of those before it becomes part of their derivatives.

    `forward` and `pull_back` are the same but for the roles of inputs and moves. So what enters and leaves them is kept
    in pairs of rows, [pulled_bar; input] and [move; z_bar] of each step: of these, one product is the derivative by the
    shared weight, and one each are those by a step's inputs and moves.
    """

    def __init__(
        self, weight: Tensor, inputs: Tensor, moves: Tensor, scale: Tensor | None, bars: Sequence[Tensor], steps: int
    ) -> None:
        """Takes the history of so many steps, what clipping multiplied its rows by, and the derivatives by it."""
        self._weight, self._inputs, self._moves = weight, inputs, moves
        self._unclipped = moves if scale is None else moves / scale
        self._history_bars = [bar.contiguous() for bar in bars]
        tasks, rows, _ = inputs.shape
        self._shots, self._end = rows // steps, 2 * rows
        self._entered = inputs.new_empty(tasks, 2 * rows, inputs.shape[2])
        self._left = inputs.new_empty(tasks, 2 * rows, moves.shape[2])
        self._bias_bar = moves.new_zeros(moves.shape[2])
        # Products of what entered with all inputs before, and of what left with all moves before.
        self._with_inputs, self._with_moves = inputs.new_empty(2, tasks, 2 * rows, rows)

    def input(self, m: int) -> Tensor:
        """See `StackedReverse`."""
        return self._inputs[:, self._own(m)]

    def move(self, m: int) -> Tensor:
        """See `StackedReverse`."""
        return self._unclipped[:, self._own(m)]

    def enter(self, m: int) -> None:
        """See `StackedReverse`."""
        own, later = self._own(m), slice(self._pair(m).stop, self._end)
        input_bar, move_bar = (bar[:, own] for bar in self._history_bars)
        if later.start < later.stop:
            input_bar = torch.baddbmm(input_bar, self._with_moves[:, later, own].mT, self._entered[:, later])
            move_bar = torch.baddbmm(move_bar, self._with_inputs[:, later, own].mT, self._left[:, later])
        self._bars = input_bar, move_bar

    def scale_bar(self, m: int) -> Tensor:
        """See `StackedReverse`."""
        return dot(self._bars[1], self.move(m))

    def moved(self, m: int, scale: Tensor | None, pull: Tensor | None) -> Tensor:
        """See `StackedReverse`."""
        input_bar, move_bar = self._bars
        if scale is not None and pull is not None:
            x, move = self.input(m), self.move(m)
            input_bar = torch.baddbmm(input_bar, torch.bmm(move, move.mT) * pull, x)
            move_bar = torch.baddbmm(move_bar * scale, (torch.bmm(x, x.mT) + 1) * pull, move)
        self._bars = input_bar, move_bar
        return move_bar

    def moved_input(self, m: int) -> Tensor:
        """See `StackedReverse`."""
        return self._bars[0]

    def pulled_back(self, m: int, pulled_bar: Tensor) -> Tensor:
        """See `StackedReverse`."""
        past, pair, shots = slice(0, self._own(m).start), self._pair(m), self._shots
        self._entered[:, pair] = torch.cat([pulled_bar, self.input(m)], 1)
        move_bar = functional.linear(pulled_bar, self._weight.mT)
        if m:
            products = torch.bmm(self._entered[:, pair], self._inputs[:, past].mT)
            products[:, shots:] += 1
            self._with_inputs[:, pair, past] = products
            move_bar.baddbmm_(products[:, :shots], self._moves[:, past])
        return move_bar

    def forwarded(self, m: int, z_bar: Tensor) -> None:
        """See `StackedReverse`."""
        past, pair = slice(0, self._own(m).start), self._pair(m)
        self._left[:, pair] = torch.cat([self.move(m), z_bar], 1)
        self._bias_bar = self._bias_bar + z_bar.sum((0, 1))
        if m:
            self._with_moves[:, pair, past] = torch.bmm(self._left[:, pair], self._moves[:, past].mT)

    def input_bar(self, m: int, z_bar: Tensor) -> Tensor:
        """See `StackedReverse`."""
        past, pair = slice(0, self._own(m).start), self._pair(m)
        input_bar = functional.linear(z_bar, self._weight)
        products = self._with_moves[:, pair.start + self._shots : pair.stop, past]
        return input_bar.baddbmm_(products, self._inputs[:, past]) if m else input_bar

    def total(self) -> tuple[Tensor, Tensor]:
        """See `StackedReverse`."""
        weight_bar = torch.zeros_like(self._weight)
        for entered, left in zip(self._entered.split(TASKS_AT_ONCE), self._left.split(TASKS_AT_ONCE), strict=True):
            weight_bar.addmm_(entered.flatten(0, 1).mT, left.flatten(0, 1))
        return weight_bar, self._bias_bar

    def _own(self, m: int) -> slice:
        """The rows of the step in the history."""
        return slice(m * self._shots, (m + 1) * self._shots)

    def _pair(self, m: int) -> slice:
        """The rows of the step among the pairs."""
        return slice(2 * m * self._shots, 2 * (m + 1) * self._shots)


class FirstReverse:
    """Of a `FirstLayer`: as its inputs never change, the derivatives by its outputs add up row by row."""

    def __init__(self, inputs: Tensor, gram: Tensor, moves: Sequence[Tensor], bar: Tensor) -> None:
        """Takes the inputs and their products, what each step did, and the derivative by the sum of the moves."""
        self._inputs, self._gram, self._moves, self._last_bar = inputs, gram, moves, bar
        self._z_bar = torch.zeros_like(bar)

    def move(self, m: int) -> Tensor:
        """See `StackedReverse`."""
        return self._moves[m]

    def enter(self, m: int) -> None:
        """See `StackedReverse`."""
        self._move_bar = torch.baddbmm(self._last_bar, self._gram, self._z_bar)

    def scale_bar(self, m: int) -> Tensor:
        """See `StackedReverse`."""
        return dot(self._move_bar, self._moves[m])

    def moved(self, m: int, scale: Tensor | None, pull: Tensor | None) -> Tensor:
        """See `StackedReverse`."""
        if scale is None or pull is None:
            return self._move_bar
        return torch.baddbmm(self._move_bar * scale, self._gram * pull, self._moves[m])

    def forwarded(self, m: int, z_bar: Tensor) -> None:
        """See `StackedReverse`."""
        self._z_bar = self._z_bar + z_bar

    def total(self) -> tuple[Tensor, Tensor]:
        """See `StackedReverse`."""
        return self._inputs.flatten(0, 1).mT @ self._z_bar.flatten(0, 1), self._z_bar.sum((0, 1))


Reverse = StackedReverse | HistoryReverse | FirstReverse
