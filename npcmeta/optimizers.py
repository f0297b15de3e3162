"""Optimizers of the outer loop: AdamW for everything, or Muon or SOAP for what they can move and AdamW for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from npcmeta.types import Params

Optimizer = Literal["adamw", "muon", "soap"]
MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
SECOND_MOMENT, TURNING = 0.99, 10
"""SOAP's decay of everything squared, and after how many steps it turns its bases."""


class Way(NamedTuple):
    """Where to move a parameter."""

    direction: Tensor  # as the parameter
    length: float  # by how many rates


Direction = Callable[[Params, Tensor], Way | None]
"""From what is kept of a parameter, and its gradient, to where to move it; None if it shall stay."""


class Guided(torch.optim.Optimizer):
    """Moves each parameter in the direction that is made of its gradients, behind a decay of its own (as AdamW's)."""

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float, direction: Direction) -> None:
        """`direction` is given what it keeps of a parameter, a dict that is empty at first, and the next gradient."""
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self._direction = direction

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Moves every parameter that has a gradient and a direction."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                way = self._direction(self.state[weight], weight.grad)
                if way is not None:
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(way.direction, alpha=-way.length * group["lr"])


def muon(state: Params, gradient: Tensor) -> Way:
    """Momentum made orthogonal, of a matrix (Jordan et al. 2024).

    Steps are scaled to the size of AdamW's (Liu et al. 2025, equation 4), so both take the same rate. torch has the
    same algorithm, but in bfloat16, which is ten times slower on processors without instructions for it
    (`benchmarks/muon_speed.py`).
    """
    if not state:
        state["momentum"] = torch.zeros_like(gradient)
    momentum = state["momentum"].mul_(MOMENTUM).add_(gradient)
    return Way(orthogonalised(gradient + MOMENTUM * momentum), 0.2 * math.sqrt(max(gradient.shape)))


def orthogonalised(matrix: Tensor) -> Tensor:
    """Nearly the closest matrix whose singular values are all 1, by Newton-Schulz iterations."""
    a, b, c = NEWTON_SCHULZ
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / (torch.linalg.matrix_norm(wide) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


def soap(state: Params, gradient: Tensor) -> Way | None:
    """Adam in the directions that the gradients of a matrix themselves have (SOAP, Vyas et al. 2024, algorithm 3).

    It gets down badly scaled valleys where Adam creeps, for a few products and now and then two QR decompositions of
    the sizes of the matrix, so it is for small networks. A vector is a matrix of one row. The first gradient only says
    where the bases begin. The state is contiguous, as it is when a checkpoint gives it back: products of matrices with
    other strides differ in their last bits.
    """
    matrix = torch.atleast_2d(gradient).contiguous()
    if state:
        return Way(_soap_direction(state, matrix).view_as(gradient), 1.0)
    state |= _soap_state(matrix)
    return None


def _soap_state(gradient: Tensor) -> Params:
    rows, columns = gradient @ gradient.T, gradient.T @ gradient
    return {
        "step": torch.zeros(()), "momentum": torch.zeros_like(gradient), "square": torch.zeros_like(gradient),
        "rows": rows, "row_basis": torch.linalg.eigh(rows)[1].contiguous(),
        "columns": columns, "column_basis": torch.linalg.eigh(columns)[1].contiguous(),
    }  # fmt: skip


def _soap_direction(state: Params, gradient: Tensor) -> Tensor:
    """Brings the state up to date with a gradient, and says which way to go."""
    left, right = state["row_basis"], state["column_basis"]
    step = int(state["step"].add_(1))
    momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM) / (1 - MOMENTUM**step)
    square = state["square"].lerp_((left.T @ gradient @ right).square(), 1 - SECOND_MOMENT)
    scale = (square / (1 - SECOND_MOMENT**step)).sqrt() + 1e-8
    state["rows"].lerp_(gradient @ gradient.T, 1 - SECOND_MOMENT)
    state["columns"].lerp_(gradient.T @ gradient, 1 - SECOND_MOMENT)
    if step % TURNING == 0:
        # One step of a power iteration towards the eigenvectors.
        state["row_basis"] = torch.linalg.qr(state["rows"] @ left)[0].contiguous()
        state["column_basis"] = torch.linalg.qr(state["columns"] @ right)[0].contiguous()
    return left @ ((left.T @ momentum @ right) / scale) @ right.T


def build_optimizers(kind: Optimizer, meta: Params, rate: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """The optimizers that together move all meta-parameters."""
    dimensions = {"adamw": (), "muon": (2,), "soap": (1, 2)}[kind]
    chosen = [value for value in meta.values() if value.dim() in dimensions]
    others = [value for value in meta.values() if value.dim() not in dimensions]
    optimizers: list[torch.optim.Optimizer] = []
    if chosen:
        optimizers.append(Guided(chosen, rate, weight_decay, {"muon": muon, "soap": soap}[kind]))
    if others:
        optimizers.append(torch.optim.AdamW(others, lr=rate, weight_decay=weight_decay))
    return optimizers
