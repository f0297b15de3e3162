"""Shared weights as leaves of autograd, and a plain MLP on them."""

from __future__ import annotations

import torch
from torch import Tensor

from npcmeta.types import Params


class Leaves:
    """The shared weights, of which a meta-gradient is taken."""

    def __init__(self, shared: Params) -> None:
        """Copies the weights."""
        self.params = {key: value.clone().requires_grad_() for key, value in shared.items()}

    def gradient(self, loss: Tensor) -> Params:
        """The meta-gradient."""
        return dict(zip(self.params, torch.autograd.grad(loss, list(self.params.values())), strict=True))


def mlp(params: Params, x: Tensor) -> Tensor:
    """An MLP with relu on one task's examples [N, in]."""
    depth = len(params) // 2
    for i in range(depth):
        x = torch.addmm(params[f"{i}.bias"], x, params[f"{i}.weight"])
        x = torch.relu(x) if i < depth - 1 else x
    return x
