"""Optimizers of the outer loop: AdamW for everything, or Muon for matrices and AdamW for the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from npcmeta.types import Params

Optimizer = Literal["adamw", "muon"]
MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


class Muon(torch.optim.Optimizer):
    """Momentum whose direction is made orthogonal, matrix by matrix (Jordan et al. 2024).

    Steps are scaled to the size of AdamW's (Liu et al. 2025, equation 4), so both take the same rate. torch has the
    same algorithm, but in bfloat16, which is ten times slower on processors without instructions for it
    (`benchmarks/muon_speed.py`).
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        """Takes matrices only."""
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Moves every matrix that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].mul_(MOMENTUM).add_(weight.grad)
                direction = orthogonalised(weight.grad + MOMENTUM * momentum)
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(direction, alpha=-0.2 * math.sqrt(max(weight.shape)) * group["lr"])


def orthogonalised(matrix: Tensor) -> Tensor:
    """Nearly the closest matrix whose singular values are all 1, by Newton-Schulz iterations."""
    a, b, c = NEWTON_SCHULZ
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / (torch.linalg.matrix_norm(wide) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


def build_optimizers(kind: Optimizer, meta: Params, rate: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """The optimizers that together move all meta-parameters."""
    matrices = [value for value in meta.values() if value.dim() == 2 and kind == "muon"]
    others = [value for value in meta.values() if value.dim() != 2 or kind == "adamw"]
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        optimizers.append(Muon(matrices, rate, weight_decay))
    if others:
        optimizers.append(torch.optim.AdamW(others, lr=rate, weight_decay=weight_decay))
    return optimizers
