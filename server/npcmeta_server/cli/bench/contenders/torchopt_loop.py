"""torchopt (github.com/metaopt/torchopt): functional optimisers, task by task, or over all tasks with torch.func."""

from __future__ import annotations

import torch
import torchopt
from torch import Tensor

from npcmeta.types import Params
from npcmeta_server.cli.bench.contenders import Ready
from npcmeta_server.cli.bench.contenders.functional import columns
from npcmeta_server.cli.bench.contenders.parameters import Leaves, mlp
from npcmeta_server.cli.bench.works import Problem


def one_by_one(problem: Problem) -> Ready:
    """Gradients by autograd."""
    leaves, optimizer = Leaves(problem.shared), torchopt.sgd(lr=problem.work.rate)

    def adapted(x: Tensor, target: Tensor, second_order: bool) -> Params:
        params = leaves.params
        state = optimizer.init(params)
        for _ in range(problem.work.steps):
            params = params if second_order else {k: v.detach().requires_grad_() for k, v in params.items()}
            loss = problem.loss(mlp(params, x), target)
            found = torch.autograd.grad(loss, list(params.values()), create_graph=second_order)
            gradients = dict(zip(params, found, strict=True))
            updates, state = optimizer.update(gradients, state, params=params, inplace=False)
            params = torchopt.apply_updates(params, updates, inplace=False)
        return params

    def predictions(second_order: bool) -> list[Tensor]:
        outputs = []
        for x, target, observation in zip(*columns(problem), strict=True):
            params = adapted(x, target, second_order)
            with torch.set_grad_enabled(second_order):
                outputs.append(mlp(params, observation))
        return outputs

    def second_order() -> Tensor:
        losses = [problem.loss(*pair) for pair in zip(predictions(True), problem.query_target, strict=True)]
        return torch.stack(losses).mean()

    return Ready(lambda: torch.stack(predictions(False)), second_order, leaves.gradient)


def vectorised(problem: Problem) -> Ready:
    """Stacked parameters in the optimiser, gradients by vmap(grad)."""
    leaves, optimizer = Leaves(problem.shared), torchopt.sgd(lr=problem.work.rate)
    support, target, query = columns(problem)

    def loss(params: Params, x: Tensor, target: Tensor) -> Tensor:
        return problem.loss(mlp(params, x), target)

    def predictions(shared: Params) -> Tensor:
        params = {key: value.expand(len(support), *value.shape) for key, value in shared.items()}
        state = optimizer.init(params)
        for _ in range(problem.work.steps):
            gradients = torch.vmap(torch.func.grad(loss))(params, support, target)
            updates, state = optimizer.update(gradients, state, params=params, inplace=False)
            params = torchopt.apply_updates(params, updates, inplace=False)
        outputs: Tensor = torch.vmap(mlp)(params, query)
        return outputs

    def first_order() -> Tensor:
        with torch.no_grad():
            return predictions(problem.shared)

    def second_order() -> Tensor:
        return problem.loss(predictions(leaves.params).flatten(0, 1), problem.query_target.flatten(0, 1))

    return Ready(first_order, second_order, leaves.gradient)
