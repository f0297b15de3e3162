"""Every task's own weights stacked, gradients by autograd: what a careful user of torch writes."""

from __future__ import annotations

import torch
from torch import Tensor

from npcmeta.types import Params
from npcmeta_server.cli.bench.contenders import Ready
from npcmeta_server.cli.bench.contenders.parameters import Leaves
from npcmeta_server.cli.bench.works import Problem


def prepare(problem: Problem) -> Ready:
    """All tasks at once."""
    leaves, tasks = Leaves(problem.shared), problem.support_target.shape[0]
    observations = problem.task.support.observation, problem.task.query.observation

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return problem.loss(output.flatten(0, 1), target.flatten(0, 1))

    def adapted(shared: Params, create_graph: bool) -> Params:
        params = {key: value.expand(tasks, *value.shape) for key, value in shared.items()}
        for _ in range(problem.work.steps):
            params = params if create_graph else {k: v.detach().requires_grad_() for k, v in params.items()}
            # The sum over tasks of each one's mean, so that each gets its own gradient.
            total = loss(forward(params, observations[0]), problem.support_target) * tasks
            gradients = torch.autograd.grad(total, list(params.values()), create_graph=create_graph)
            steps = zip(params.items(), gradients, strict=True)
            params = {key: value - problem.work.rate * gradient for (key, value), gradient in steps}
        return params

    def first_order() -> Tensor:
        params = adapted(problem.shared, create_graph=False)
        with torch.no_grad():
            return forward(params, observations[1])

    def second_order() -> Tensor:
        return loss(forward(adapted(leaves.params, create_graph=True), observations[1]), problem.query_target)

    return Ready(first_order, second_order, leaves.gradient)


def forward(params: Params, x: Tensor) -> Tensor:
    """An MLP with relu on stacked weights."""
    depth = len(params) // 2
    for i in range(depth):
        x = torch.baddbmm(params[f"{i}.bias"].unsqueeze(1), x, params[f"{i}.weight"])
        x = torch.relu(x) if i < depth - 1 else x
    return x
