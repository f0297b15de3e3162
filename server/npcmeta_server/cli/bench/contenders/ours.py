"""npcmeta's own inner loop, called as MAML calls it."""

from __future__ import annotations

import torch
from torch import Tensor

from npcmeta.dual import Descent
from npcmeta.meta_gradient import InnerLoop, predict_adapted
from npcmeta_server.cli.bench.contenders import Ready
from npcmeta_server.cli.bench.contenders.parameters import Leaves
from npcmeta_server.cli.bench.works import Problem


def prepare(problem: Problem) -> Ready:
    """Both orders with the same call."""
    work, query = problem.work, problem.task.query
    loop = InnerLoop(problem.head, problem.task.support, Descent("relu", work.rate, work.steps, None))
    leaves = Leaves(problem.shared)

    def first_order() -> Tensor:
        with torch.no_grad():
            return predict_adapted(loop, problem.shared, query.observation)

    def second_order() -> Tensor:
        output = predict_adapted(loop, leaves.params, query.observation)
        return problem.loss(output.flatten(0, 1), problem.query_target.flatten(0, 1))

    return Ready(first_order, second_order, leaves.gradient)
