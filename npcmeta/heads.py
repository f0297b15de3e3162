"""Heads: from the numbers a network puts out to a distribution over actions.

Head parameters are laid out as `[mean C | raw spread C | logits W]`, without the spread where it is fixed. Continuous
actions are independent Gaussians; each discrete branch is a categorical distribution over its allowed choices; both
together are independent given the parameters, so their log-likelihoods add.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from npcmeta.types import Action, ActionSpec, Head

MIN_LOG_STD, MAX_LOG_STD = -3.0, 1.0
MASKED_LOGIT = -1e8
"""Added to the logit of a choice that is not allowed. Finite, so that no gradient is ever NaN."""


def build_head(action: ActionSpec, fixed_std: float = 0.0) -> Head:
    """Builds the head of an action spec: Gaussian, categorical branches, or both.

    Continuous actions have a learned spread if `fixed_std` is 0, otherwise that one: with the square root of a half,
    the NLL is the squared error that papers on regression train on, but for a constant.

    `nll` is in nats per decision, summed over everything that is decided in one tick. `sample` takes its randomness
    as `noise` [.., C + W], standard normal for the continuous part and standard Gumbel for the logits; zeros give
    the mode, so one graph serves both. `unit` is the spread of each mean, and 1 for other head parameters;
    `curvature` bounds the second derivatives of the NLL by means (for the spread at hand) and logits in these units;
    for spreads it is near them, and no bound.

    Raises:
        ValueError: If there is nothing to decide, or a branch has fewer than two choices.
    """
    _check(action)
    continuous, choices = action.continuous_size, action.mask_size
    first_logit = continuous if fixed_std else 2 * continuous
    layout = _Layout(action, continuous, choices, first_logit, fixed_std)
    return Head(
        first_logit + choices,
        continuous + choices,
        tuple(count for count in (continuous, first_logit - continuous, choices) if count),
        layout.nll,
        layout.nll_gradient,
        layout.unit,
        layout.curvature,
        layout.mode,
        layout.sample,
        layout.draw_noise,
    )


class _Layout(NamedTuple):
    """Which head parameters are what, with the functions of `Head` on them."""

    action: ActionSpec
    continuous: int
    choices: int
    first_logit: int
    fixed_std: float  # 0 if the spread is learned

    def nll(self, params: Tensor, taken: Action, mask: Tensor) -> Tensor:
        total = params.new_zeros(params.shape[:-1])
        if self.continuous:
            z, log_std, _ = self._standardised(params, taken.continuous)
            total = total + (0.5 * z.square() + log_std + 0.5 * math.log(2 * math.pi)).sum(-1)
        for index, logits in enumerate(self._branches(params, mask)):
            chosen = taken.discrete[..., index : index + 1]
            total = total - logits.log_softmax(-1).gather(-1, chosen).squeeze(-1)
        return total

    def nll_gradient(self, params: Tensor, taken: Action, mask: Tensor) -> Tensor:
        parts = []
        if self.fixed_std:
            parts.append((params[..., : self.continuous] - taken.continuous) * self.fixed_std**-2)
        elif self.continuous:
            z, log_std, slope = self._standardised(params, taken.continuous)
            parts += [-z * torch.exp(-log_std), (1 - z.square()) * slope]
        for index, logits in enumerate(self._branches(params, mask)):
            parts.append(_softmax(logits) - one_hot(taken.discrete[..., index], logits.shape[-1], logits.dtype))
        return torch.cat(parts, -1) if len(parts) > 1 else parts[0]

    def unit(self, params: Tensor) -> Tensor:
        std = torch.exp(self._spread(params)[0])
        return torch.cat([std, torch.ones_like(params[..., self.continuous :])], -1)

    def curvature(self, params: Tensor, taken: Action, mask: Tensor) -> Tensor:
        parts = []
        if self.continuous:
            z, _, slope = self._standardised(params, taken.continuous)
            parts.append(torch.ones_like(z[..., :1]))
            if not self.fixed_std:
                # By the logarithm of the spread, the second derivative is 2 z^2, and at the optimum 2; how that bends
                # with `raw`, and with the mean, is left out, so this is no bound. The largest holds for all of them,
                # so that many continuous actions need no more matrices than one.
                bend = 2 * slope.square() * z.square().clamp_min(1.0)
                parts.append(bend.amax(-1, keepdim=True))
        # Half the identity bounds the Hessian of a softmax (Boehning 1992).
        parts += [torch.full_like(params[..., :1], 0.5)] if self.choices else []
        return torch.cat(parts, -1)

    def mode(self, params: Tensor, mask: Tensor) -> Action:
        return self.sample(params, mask, params.new_zeros(*params.shape[:-1], self.continuous + self.choices))

    def sample(self, params: Tensor, mask: Tensor, noise: Tensor) -> Action:
        moves = params[..., : self.continuous]
        if self.continuous:
            std = torch.exp(self._spread(params)[0])
            moves = (moves + std * noise[..., : self.continuous]).clamp(-1.0, 1.0)
        if not self.choices:
            return Action(moves, torch.zeros(*params.shape[:-1], 0, dtype=torch.int64, device=params.device))
        shaken = _masked(params[..., self.first_logit :] + noise[..., self.continuous :], mask, self.action)
        return Action(moves, torch.cat([scores.argmax(-1, keepdim=True) for scores in shaken], -1))

    def draw_noise(self, generator: Generator, shape: tuple[int, ...]) -> Tensor:
        normal = torch.randn(*shape, self.continuous, generator=generator, dtype=torch.float32)
        uniform = torch.rand(*shape, self.choices, generator=generator, dtype=torch.float32).clamp(1e-7, 1 - 1e-7)
        return torch.cat([normal, -torch.log(-torch.log(uniform))], -1)

    def _standardised(self, params: Tensor, taken: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        log_std, slope = self._spread(params)
        return (taken - params[..., : self.continuous]) * torch.exp(-log_std), log_std, slope

    def _spread(self, params: Tensor) -> tuple[Tensor, Tensor]:
        if self.fixed_std:
            return torch.full_like(params[..., : self.continuous], math.log(self.fixed_std)), params[..., :0]
        return _log_std(params[..., self.continuous : self.first_logit])

    def _branches(self, params: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        return _masked(params[..., self.first_logit :], mask, self.action)


def one_hot(index: Tensor, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """One-hot vectors [.., size] of an index [..]; a comparison, so it exports and differentiates cleanly."""
    return (index.unsqueeze(-1) == torch.arange(size, device=index.device)).to(dtype)


def action_features(action: Action, spec: ActionSpec, dtype: torch.dtype = torch.float32) -> Tensor:
    """Actions as network inputs [.., C + W]: continuous values, then a one-hot vector for each branch."""
    hot = [one_hot(action.discrete[..., i], size, dtype) for i, size in enumerate(spec.branch_sizes)]
    return torch.cat([action.continuous.to(dtype), *hot], -1)


def moments(params: Tensor, action: ActionSpec) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [.., C] of each continuous action, under a head with a learned spread."""
    mean, raw = params[..., : 2 * action.continuous_size].chunk(2, -1)
    return mean, torch.exp(_log_std(raw)[0])


def probabilities(params: Tensor, mask: Tensor, action: ActionSpec) -> tuple[Tensor, ...]:
    """For each branch, the probability of every choice [.., size]; 0 for one that is not allowed."""
    logits = params[..., params.shape[-1] - action.mask_size :]
    return tuple(branch.softmax(-1) for branch in _masked(logits, mask, action))


def _check(action: ActionSpec) -> None:
    if action.continuous_size < 0 or (action.continuous_size == 0 and not action.branch_sizes):
        raise ValueError(
            f"the action spec decides nothing: {action.continuous_size} continuous actions and branches "
            f"{action.branch_sizes}; expected at least one continuous action or one branch"
        )
    if any(size < 2 for size in action.branch_sizes):
        raise ValueError(f"branch sizes {action.branch_sizes}: every branch needs at least 2 choices")


def _log_std(raw: Tensor) -> tuple[Tensor, Tensor]:
    """A smoothly bounded log standard deviation, and its derivative by `raw`. Unbounded, inner SGD diverges."""
    gate = torch.sigmoid(raw)
    width = MAX_LOG_STD - MIN_LOG_STD
    return MIN_LOG_STD + width * gate, width * gate * (1 - gate)


def _softmax(logits: Tensor) -> Tensor:
    """Softmax over the few choices of a branch: torch's own takes four times as long on rows this short."""
    raised = torch.exp(logits - logits.detach().amax(-1, keepdim=True))
    return raised / raised.sum(-1, keepdim=True)


def _masked(logits: Tensor, mask: Tensor, action: ActionSpec) -> tuple[Tensor, ...]:
    """The logits of each branch, those of forbidden choices far below all others."""
    if not action.branch_sizes:
        return ()
    masked = logits + torch.where(mask, 0.0, MASKED_LOGIT).to(logits.dtype)
    return masked.split(action.branch_sizes, -1)
