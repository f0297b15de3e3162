"""torch.func, torch's own library of function transforms: `grad` task by task, and `vmap(grad)` over all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from npcmeta.types import Params
from npcmeta_server.cli.bench.contenders import Ready
from npcmeta_server.cli.bench.contenders.parameters import Leaves, mlp
from npcmeta_server.cli.bench.works import Problem


def one_by_one(problem: Problem) -> Ready:
    """`grad`, one task at a time."""
    leaves, tasks = Leaves(problem.shared), problem.support_target.shape[0]

    def predictions(shared: Params) -> list[Tensor]:
        return [predict_adapted(problem, shared, *(column[row] for column in columns(problem))) for row in range(tasks)]

    def first_order() -> Tensor:
        with torch.no_grad():
            return torch.stack(predictions(problem.shared))

    def second_order() -> Tensor:
        losses = [problem.loss(*pair) for pair in zip(predictions(leaves.params), problem.query_target, strict=True)]
        return torch.stack(losses).mean()

    return Ready(first_order, second_order, leaves.gradient)


def vectorised(problem: Problem) -> Ready:
    """`vmap(grad)`, all tasks at once."""
    leaves = Leaves(problem.shared)

    def predictions(shared: Params) -> Tensor:
        def predict(*row: Tensor) -> Tensor:
            return predict_adapted(problem, shared, *row)

        outputs: Tensor = torch.vmap(predict)(*columns(problem))
        return outputs

    def first_order() -> Tensor:
        with torch.no_grad():
            return predictions(problem.shared)

    def second_order() -> Tensor:
        return problem.loss(predictions(leaves.params).flatten(0, 1), problem.query_target.flatten(0, 1))

    return Ready(first_order, second_order, leaves.gradient)


def predict_adapted(problem: Problem, shared: Params, x: Tensor, target: Tensor, observation: Tensor) -> Tensor:
    """Adapts to one task and predicts."""

    def loss(params: Params) -> Tensor:
        return problem.loss(mlp(params, x), target)

    params = shared
    for _ in range(problem.work.steps):
        gradients = torch.func.grad(loss)(params)
        params = {key: value - problem.work.rate * gradients[key] for key, value in params.items()}
    return mlp(params, observation)


def columns(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    """Support observations, support targets and query observations, each with a row for each task."""
    return problem.task.support.observation, problem.support_target, problem.task.query.observation
