"""The network as libraries want it: a module of torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from npcmeta.types import Params
from npcmeta_server.cli.bench.works import Problem


def build_module(problem: Problem) -> nn.Sequential:
    """An MLP with the shared weights, which are transposed in torch's modules."""
    layers: list[nn.Module] = []
    for i in range(len(problem.shared) // 2):
        weight, bias = problem.shared[f"{i}.weight"], problem.shared[f"{i}.bias"]
        layer = nn.Linear(*weight.shape)
        with torch.no_grad():
            layer.weight.copy_(weight.t())
            layer.bias.copy_(bias)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def meta_gradient(module: nn.Sequential, loss: Tensor) -> Params:
    """The meta-gradient by the module's parameters, with npcmeta's keys and shapes."""
    gradients = torch.autograd.grad(loss, list(module.parameters()))
    named: Params = {}
    for i in range(len(gradients) // 2):
        named |= {f"{i}.weight": gradients[2 * i].t(), f"{i}.bias": gradients[2 * i + 1]}
    return named
