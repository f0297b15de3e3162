"""A layer while it adapts, in one of three exact forms: what tasks share is multiplied once for all of them.

SGD changes a layer by `inputs^T @ moves`: what the layer saw in each step, and minus the step size times the loss
gradient at its outputs. So after any number of steps its outputs are those of the weights before, which all tasks
share, plus `(x @ inputs^T + 1) @ moves`; the 1 is the bias. `HistoryLayer` keeps these pairs and never builds a task's
weights, `FirstLayer` uses besides that its inputs are the same in every step, and `StackedLayer` builds them, which is
better once the pairs are larger than the weights.

x is [T, N, in], gradients and moves at the outputs are [T, N, out]. Every operation is an ordinary one, so autograd
can differentiate it and a tracer can export it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

NARROW = 16
"""With fewer columns than this, the transposed product of stacked matrices is up to five times as fast."""


class HistoryLayer(NamedTuple):
    """Weights, shared ones or each task's own, and what the steps have done to them."""

    weight: Tensor  # [in, out], or [T, in, out]
    bias: Tensor  # [out], or [T, out]
    history: tuple[Tensor, Tensor] | None = None  # inputs [T, S of all steps, in] and moves [T, S of all steps, out]

    def forward(self, x: Tensor) -> Tensor:
        """Outputs before the activation, [T, N, out]."""
        outputs = affine(x, self.weight, self.bias)
        if self.history is None:
            return outputs
        inputs, moves = self.history
        return _plus_product(outputs, torch.bmm(x, transposed(inputs)).add_(1), moves)

    def pull_back(self, gradient: Tensor) -> Tensor:
        """From the gradient at the outputs to that at the inputs, [T, N, in]."""
        pulled = _back(gradient, self.weight)
        if self.history is None:
            return pulled
        inputs, moves = self.history
        return _plus_product(pulled, torch.bmm(gradient, transposed(moves)), inputs)

    def moved(self, x: Tensor, move: Tensor) -> HistoryLayer:
        """The layer whose weights have changed by `x^T @ move`, and its bias by the sum of the move."""
        if self.history is None:
            return self._replace(history=(x, move))
        inputs, moves = self.history
        return self._replace(history=(torch.cat([inputs, x], 1), torch.cat([moves, move], 1)))

    def measured(self, x: Tensor, move: Tensor) -> tuple[Tensor, Callable[[Tensor], HistoryLayer]]:
        """Squared norm [T, 1, 1] of what `moved` would change, and `moved` by a multiple [T, 1, 1] of it.

        The norm of `x^T @ move` needs only the products of rows with each other.
        """
        square = dot(torch.bmm(x, transposed(x)).add_(1), torch.bmm(move, transposed(move)))
        return square, lambda scale: self.moved(x, move * scale)

    def weights(self) -> tuple[Tensor, Tensor]:
        """Every task's own weights [T, in, out] and biases [T, out], once there is a history."""
        assert self.history is not None
        inputs, moves = self.history
        return torch.baddbmm(self.weight, transposed(inputs), moves), self.bias + moves.sum(1)


class FirstLayer(NamedTuple):
    """Shared weights of a layer that sees the same inputs in every step, so that moves add up row by row."""

    weight: Tensor  # [in, out], or [T, in, out]
    bias: Tensor  # [out], or [T, out]
    inputs: Tensor  # [T, S, in]
    outputs: Tensor  # before any step, [T, S, out]
    gram: Tensor  # inputs @ inputs^T + 1, [T, S, S]
    moves: Tensor | None = None  # sum over the steps, [T, S, out]

    @classmethod
    def begin(cls, weight: Tensor, bias: Tensor, inputs: Tensor) -> FirstLayer:
        """Multiplies once what stays the same."""
        outputs = affine(inputs, weight, bias)
        return cls(weight, bias, inputs, outputs, torch.bmm(inputs, transposed(inputs)).add_(1))

    def forward(self, x: Tensor) -> Tensor:
        """See `HistoryLayer`; quick for the very tensor that the layer has begun with."""
        if x is not self.inputs:
            return self.as_history().forward(x)
        return self.outputs if self.moves is None else torch.baddbmm(self.outputs, self.gram, self.moves)

    def pull_back(self, gradient: Tensor) -> Tensor:
        """See `HistoryLayer`."""
        return self.as_history().pull_back(gradient)

    def moved(self, x: Tensor, move: Tensor) -> FirstLayer:
        """See `HistoryLayer`; x can only be the layer's own inputs."""
        return self._replace(moves=move if self.moves is None else self.moves + move)

    def measured(self, x: Tensor, move: Tensor) -> tuple[Tensor, Callable[[Tensor], FirstLayer]]:
        """See `HistoryLayer`."""
        return dot(self.gram, torch.bmm(move, transposed(move))), lambda scale: self.moved(x, move * scale)

    def weights(self) -> tuple[Tensor, Tensor]:
        """See `HistoryLayer`."""
        return self.as_history().weights()

    def as_history(self) -> HistoryLayer:
        """The same layer for other inputs than its own."""
        return HistoryLayer(self.weight, self.bias, None if self.moves is None else (self.inputs, self.moves))


class StackedLayer(NamedTuple):
    """Every task's own weights."""

    weight: Tensor  # [T, in, out]
    bias: Tensor  # [T, 1, out]
    in_place: bool = False  # whether `moved` may overwrite the weights

    def forward(self, x: Tensor) -> Tensor:
        """See `HistoryLayer`."""
        if self.weight.shape[-1] < NARROW:
            return product(x, self.weight) + self.bias
        return torch.baddbmm(self.bias, x, self.weight)

    def pull_back(self, gradient: Tensor) -> Tensor:
        """See `HistoryLayer`."""
        return torch.bmm(gradient, transposed(self.weight))

    def moved(self, x: Tensor, move: Tensor) -> StackedLayer:
        """See `HistoryLayer`."""
        weight = plus_change(self.weight, x, move, self.in_place)
        return self._replace(weight=weight, bias=self.bias + move.sum(1, keepdim=True))

    def measured(self, x: Tensor, move: Tensor) -> tuple[Tensor, Callable[[Tensor], StackedLayer]]:
        """See `HistoryLayer`."""
        weight, bias = change(x, move), move.sum(1, keepdim=True)

        def moved(scale: Tensor) -> StackedLayer:
            add = self.weight.addcmul_ if self.in_place else self.weight.addcmul
            return self._replace(weight=add(weight, scale), bias=torch.addcmul(self.bias, bias, scale))

        return dot(weight, weight) + dot(bias, bias), moved

    def weights(self) -> tuple[Tensor, Tensor]:
        """See `HistoryLayer`."""
        return self.weight, self.bias[:, 0]


Layer = HistoryLayer | FirstLayer | StackedLayer


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`x @ weight + bias`; shared weights are multiplied once for all tasks."""
    if weight.dim() == 2:
        return functional.linear(x, weight.t(), bias)
    return torch.baddbmm(bias.unsqueeze(1), x, weight)


def _back(gradient: Tensor, weight: Tensor) -> Tensor:
    """`gradient @ weight^T`."""
    if weight.dim() == 2:
        return functional.linear(gradient, weight)
    return torch.bmm(gradient, transposed(weight))


def product(x: Tensor, weight: Tensor) -> Tensor:
    """`x @ weight` of stacked weights."""
    if weight.shape[-1] < NARROW:
        return transposed(torch.bmm(transposed(weight), transposed(x)))
    return torch.bmm(x, weight)


def change(x: Tensor, move: Tensor) -> Tensor:
    """`x^T @ move`, [T, in, out]."""
    if move.shape[-1] < NARROW:
        return transposed(torch.bmm(transposed(move), x))
    return torch.bmm(transposed(x), move)


def plus_change(weight: Tensor, x: Tensor, move: Tensor, in_place: bool = False) -> Tensor:
    """`weight + x^T @ move`, [T, in, out]."""
    if move.shape[-1] < NARROW:
        return weight.add_(change(x, move)) if in_place else weight + change(x, move)
    return weight.baddbmm_(transposed(x), move) if in_place else torch.baddbmm(weight, transposed(x), move)


def transposed(matrices: Tensor) -> Tensor:
    """Every task's matrix transposed; `mT` does not export."""
    return matrices.transpose(1, 2)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Sum over the products of corresponding elements of each task, [T, ...] to [T, 1, 1]."""
    return torch.bmm(a.flatten(1).unsqueeze(1), b.flatten(1).unsqueeze(2))


def _plus_product(total: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """`total + left @ right`, where nobody else needs `total`; in its place if autograd does not need it either."""
    return torch.baddbmm(total, left, right) if total.requires_grad else total.baddbmm_(left, right)
