"""A Gaussian posterior over how a character differs from the average policy, as far as its examples show.

A character is a matrix V [D, P]; its head parameters are f(x) + u(x) * z(x) V, with the average policy's f, learned
features z of the observation [D], the head's units u (a mean changes in standard deviations), and a prior N(0, I) on V.
For continuous actions this is ALPaCA (Harrison et al. 2018), a closed form; discrete ones take fixed steps down a
quadratic bound of their NLL (Boehning 1992), so that no step makes the fit worse. No autograd, and nothing but matrix
products but for one inverse, which can be made of them: all of it exports.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor

from npcmeta.types import Examples, Head

INVERSE_STEPS = 24
STEP_LENGTH = 1.5
"""Of steps for choices: the bound is loose, and any length below 2 goes down it."""
_PRODUCTS_ALONE = ContextVar("products_alone", default=False)


class Evidence(NamedTuple):
    """What earlier examples left: a quadratic form of V, for when more of them come."""

    precision: Tensor  # [T, G, D, D], the curvature of the examples' NLL, without prior and tempering
    pull: Tensor  # [T, D, P], minus its slope at V = 0


def fit(
    head: Head,
    average: Tensor,
    features: Tensor,
    examples: Examples,
    earlier: Evidence,
    tempering: Tensor,
    steps: int,
) -> tuple[Tensor, Evidence, Tensor]:
    """Finds argmin over V of c * (NLL of the examples + earlier evidence) + |V|^2 / 2.

    Args:
        head: Of the policy.
        average: Head parameters before V is added, [T, S, P].
        features: z, [T, S, D].
        examples: The support sets.
        earlier: Evidence from before, zeros if there is none.
        tempering: c of each task [T]: play is autocorrelated, so an example says less than it seems to.
        steps: Steps down the bound. The means of continuous actions, fitted at the average's spread, are exact after
            one.

    Returns:
        V [T, D, P]; the evidence with these examples in it; and the posterior's covariance [T, G, D, D].
    """
    temper, weight = tempering[:, None, None], examples.weight.unsqueeze(-1)
    precision = earlier.precision + _curvature(head, average, features, examples)
    covariance = inverse(temper.unsqueeze(-1) * precision + identity(features.shape[-1], features))
    unit, v = head.unit(average), torch.zeros_like(earlier.pull)
    choices = int(examples.action_mask.shape[-1])
    length = v.new_tensor([1.0] * (head.num_params - choices) + [STEP_LENGTH] * choices)

    def slope(v: Tensor) -> Tensor:
        gradient = _slope(head, average, _narrow(features, v) * unit, examples) * unit * weight
        return _narrow(features.transpose(-1, -2), gradient) + _apply(head, earlier.precision, v) - earlier.pull

    for _ in range(steps):
        v = v - length * _apply(head, covariance, temper * slope(v) + v)
    # What is kept has the slope of the evidence itself at V, which the steps may not have quite balanced.
    return v, Evidence(precision, _apply(head, precision, v) - slope(v)), covariance


def known(features: Tensor, covariance: Tensor) -> Tensor:
    """How well a character is known in some situations: the share of its prior variance there that is gone.

    0 is a stranger, 1 is known perfectly. It counts what examples could tell, not what they said.

    Args:
        features: z of the situations, [.., N, D].
        covariance: The posterior's, [.., G, D, D], of as many leading axes as can be broadcast.

    Returns:
        [..], the mean over the head parameters that bend alike.
    """
    rows = features.unsqueeze(-3)
    left = ((rows @ covariance) * rows).sum((-1, -2)).mean(-1)
    return 1 - left / features.square().sum((-1, -2)).clamp_min(1e-12)


def examples_until(known_now: float, examples: float, target: float) -> float:
    """How many more examples make a character so well known, if each tells as much as those before it did.

    With n examples of n + m the share is n / (n + m), where m is what the prior counts for; `known_now` tells m.
    """
    prior = examples * (1 - known_now) / max(known_now, 1e-9)
    return max(0.0, prior * target / (1 - target) - examples)


def examples_until_next_tenth(known_now: float, examples: float) -> tuple[float, int]:
    """The next tenth above the per cent that a character is known to, and about how many more examples that takes.

    Returns:
        The tenth and the examples; the tenth is 1.0 if there is none left to reach, as nobody is known perfectly.
    """
    target = min(round(100 * known_now) // 10 + 1, 10) / 10
    return target, round(examples_until(known_now, examples, target)) if target < 1 else 0


def inverse(matrix: Tensor) -> Tensor:
    """Inverse of symmetric matrices I + H [.., D, D] with H >= 0.

    By a factorisation; inside of `products_alone`, and for matrices that are too stiff for it, by Newton-Schulz
    iterations. Those converge from any multiple of I below 2 / (largest eigenvalue), in the end quadratically: 24 steps
    reach the rounding of the number format while the largest row sum of |H| is below a million.
    """
    return _newton_schulz(matrix) if _PRODUCTS_ALONE.get() else _Inverse.apply(matrix)


@contextlib.contextmanager
def products_alone() -> Iterator[None]:
    """Inside, an inverse is a fixed number of matrix products: five times as slow, but all engines have them."""
    before = _PRODUCTS_ALONE.set(True)
    try:
        yield
    finally:
        _PRODUCTS_ALONE.reset(before)


def identity(size: int, like: Tensor) -> Tensor:
    """The identity matrix, by a comparison, which every engine has."""
    index = torch.arange(size, device=like.device)
    return (index.unsqueeze(-1) == index).to(like.dtype)


def _newton_schulz(matrix: Tensor) -> Tensor:
    one = identity(matrix.shape[-1], matrix)
    # The largest row sum bounds the largest eigenvalue; the smallest is at least 1.
    x = (2 / (matrix.abs().sum(-1).amax(-1)[..., None, None] + 1)) * one
    for _ in range(INVERSE_STEPS):
        x = x @ (2 * one - matrix @ x)
    return x


class _Inverse(torch.autograd.Function):
    """A factorisation, and a backward pass that needs nothing but the result."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        root, info = torch.linalg.cholesky_ex(matrix)
        if info.any():
            failed = (info > 0)[..., None, None]
            found = torch.cholesky_inverse(torch.where(failed, identity(matrix.shape[-1], matrix), root))
            x = torch.where(failed, _newton_schulz(matrix), found)
        else:
            x = torch.cholesky_inverse(root)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return -x.transpose(-1, -2) @ gradients[0] @ x.transpose(-1, -2)


def _curvature(head: Head, average: Tensor, features: Tensor, examples: Examples) -> Tensor:
    """Sum over examples of weight * curvature * z z^T, [T, G, D, D]."""
    bend = head.curvature(average, examples.action, examples.action_mask) * examples.weight.unsqueeze(-1)
    rows = features.unsqueeze(1)
    return (rows * bend.transpose(-1, -2).unsqueeze(-1)).transpose(-1, -2) @ rows


def _slope(head: Head, average: Tensor, change: Tensor, examples: Examples) -> Tensor:
    """Gradient of the NLL by the head parameters; that of a mean is taken at the average's spread."""
    action, mask = examples.action, examples.action_mask
    means, choices = action.continuous.shape[-1], mask.shape[-1]
    gradient = head.nll_gradient(average + change, action, mask)
    if means == 0 or means + choices == head.num_params:
        return gradient
    kept = torch.cat([change[..., :means], torch.zeros_like(change[..., means:])], -1)
    at_average_spread = head.nll_gradient(average + kept, action, mask)
    return torch.cat([at_average_spread[..., :means], gradient[..., means:]], -1)


def _narrow(left: Tensor, right: Tensor) -> Tensor:
    """Matrix product with a right side of a few columns: the transposes' product is four times as fast."""
    return (right.transpose(-1, -2) @ left.transpose(-1, -2)).transpose(-1, -2)


def _apply(head: Head, matrices: Tensor, v: Tensor) -> Tensor:
    """Multiplies the columns of V [T, D, P] with the matrix [T, G, D, D] that belongs to them."""
    parts = [matrices[:, index] @ columns for index, columns in enumerate(v.split(head.alike, -1))]
    return torch.cat(parts, -1)
