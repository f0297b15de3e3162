"""What a setting promises, of every learner that has it."""

import pytest
import torch
from torch import Generator

from npcmeta.types import Learner, Params
from tests import toys

CLIPPED = [("maml", {}), ("maml", {"added_inputs": 2}), ("fomaml", {}), ("anil", {}), ("meta_sgd", {}), ("reptile", {}),
           ("cavia", {})]  # fmt: skip
"""Learners whose state is what the inner loop moves, and nothing else."""
WITH_DROPOUT = ("bayes", "bayes-context", "bayes-tuned", "finetune", "maml", "fomaml", "anil", "meta_sgd", "cavia",
                "protonet", "matching", "cnp")  # fmt: skip
"""Learners that draw nothing else while they are trained."""


def built(name: str, **changes: object) -> tuple[Learner, Params]:
    learner = toys.small_settings(name, activation="tanh", **changes).build(toys.spec("discrete"))
    return learner, learner.init(Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "changes"), CLIPPED)
def test_no_step_is_longer_than_its_clipped_gradient(name: str, changes: dict[str, object]) -> None:
    support = toys.draw_task("discrete", 5, 8).support
    moved = []
    for clip in (1e-3, 0.0):
        learner, meta = built(name, inner_clip=clip, inner_rate=0.1, inner_steps=3, **changes)
        begun = learner.begin(meta, 5, torch.zeros(5, 0))
        reached = learner.update(meta, begun, support)
        moved.append(
            torch.stack([(reached[key] - begun[key]).square().flatten(1).sum(-1) for key in begun]).sum(0).sqrt()
        )
    assert float(moved[0].max()) <= 3 * 0.1 * 1e-3 * 1.01 < 0.5 * float(moved[1].min())


@pytest.mark.parametrize("name", WITH_DROPOUT)
def test_dropout_is_in_every_loss_that_is_trained_on(name: str) -> None:
    learner, meta = built(name, dropout=0.5, feature_dropout=0.5)
    task = toys.draw_task("discrete", 4, 8)
    one, other = (learner.meta_loss(meta, task, Generator().manual_seed(seed))[1] for seed in (0, 1))
    assert [key for key in one if one[key] == other[key]] == []
