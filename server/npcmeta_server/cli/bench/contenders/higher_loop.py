"""higher (github.com/facebookresearch/higher): modules and optimisers that can be differentiated, task by task."""

from __future__ import annotations

import higher
import torch
from torch import Tensor

from npcmeta_server.cli.bench.contenders import Ready
from npcmeta_server.cli.bench.contenders.modules import build_module, meta_gradient
from npcmeta_server.cli.bench.works import Problem


def prepare(problem: Problem) -> Ready:
    """Follows higher's own example of MAML; without tracking gradients for first order."""
    module = build_module(problem)
    optimizer = torch.optim.SGD(module.parameters(), lr=problem.work.rate)
    support, query = problem.task.support.observation, problem.task.query.observation

    def predictions(second_order: bool) -> list[Tensor]:
        outputs = []
        for x, target, observation in zip(support, problem.support_target, query, strict=True):
            with higher.innerloop_ctx(
                module, optimizer, copy_initial_weights=not second_order, track_higher_grads=second_order
            ) as (adapted, steps):
                for _ in range(problem.work.steps):
                    steps.step(problem.loss(adapted(x), target))
                with torch.set_grad_enabled(second_order):
                    outputs.append(adapted(observation))
        return outputs

    def second_order() -> Tensor:
        losses = [problem.loss(*pair) for pair in zip(predictions(True), problem.query_target, strict=True)]
        return torch.stack(losses).mean()

    return Ready(lambda: torch.stack(predictions(False)), second_order, lambda loss: meta_gradient(module, loss))
