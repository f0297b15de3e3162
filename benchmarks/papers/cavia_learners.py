"""The learners of CAVIA's Table 1, and the outer loops that train them.

As in the paper: relu 40-40, 25 tasks in a meta-batch, 10 support and 10 query points, the squared error, one inner step
of a rate of 1.0 (CAVIA) or 0.1 (MAML), the weights of the best validation kept; for CAVIA, Adam with a rate of 1e-3.

Ours: weights and biases begin uniform within 1 / sqrt(inputs of the layer), where the authors' code has the outputs of
the layer; the outer rate falls to zero over the second half; an average of the weights is what counts; and the norm of
the meta-gradient is clipped to 10, where theirs clamps each value of each task's gradient to 10 for CAVIA and clips
nothing for MAML. MAML is trained by SOAP on 50 tasks in each of half as many steps, its norm is clipped to 1, its added
inputs begin with large weights, and a term of its loss keeps hidden units from ending as zero for all inputs, as many
do without it. Without added parameters it is trained for more than three times as long as the others.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from npcmeta.learners import Settings
from npcmeta.learners.cavia import CaviaSettings
from npcmeta.learners.maml import MamlSettings
from npcmeta.outer_loop import OuterSettings
from npcmeta.tasks.sinusoid import SinusoidFamily
from npcmeta.types import Learner, Params, Task

SHOTS = 10
AWAKE, IDLE_WEIGHT = 0.1, 0.1
"""What the preactivations of a hidden unit should reach for some inputs, and what it costs per unit if not."""
SQUARED_ERROR = math.sqrt(0.5)
"""The fixed spread under which the NLL is the squared error, but for a constant."""


class Cell(NamedTuple):
    """One number of the table."""

    learner: str
    added: int

    @property
    def name(self) -> str:
        """As `--only` has it."""
        return f"{self.learner}:{self.added}"


def steps_of(cell: Cell) -> int:
    """Outer steps of 25 tasks each, if nobody says otherwise; the paper has 50,000 for all cells."""
    return 50_000 if cell.added else 180_000


def cell_settings(cell: Cell) -> Settings:
    """The paper's learner."""
    if cell.learner == "cavia":
        return CaviaSettings(
            hidden=(40, 40), context=cell.added, inner_rate=1.0, inner_steps=1, inner_clip=0.0,
            unadapted_share=0.0, fixed_std=SQUARED_ERROR,
        )  # fmt: skip
    return MamlSettings(
        hidden=(40, 40), added_inputs=cell.added, inner_rate=0.1, inner_steps=1, inner_clip=0.0,
        unadapted_share=0.0, fixed_std=SQUARED_ERROR,
    )  # fmt: skip


def outer_settings(learner: str, steps: int) -> OuterSettings:
    """The paper's outer loop for CAVIA; for MAML one that sees as many tasks, in half of the steps."""
    settings = OuterSettings(
        meta_steps=steps, meta_batch=25, rate=1e-3, weight_decay=0.0, clip=10.0, min_shots=SHOTS, max_shots=SHOTS,
        query_shots=SHOTS,
    )  # fmt: skip
    if learner == "cavia":
        return settings
    return dataclasses.replace(
        settings, meta_steps=max(1, steps // 2), meta_batch=50, optimizer="soap", rate=1e-2, averaging=0.995,
        clip=1.0,
    )  # fmt: skip


def paper_learner(cell: Cell) -> Learner:
    """The learner, with weights and biases that begin uniform within 1 / `divisors`.

    It matters that biases are drawn, too: when all are zero, as `networks.init_mlp` has them, all hidden units of a
    network with one input bend at the same point, and training is slow to spread them.
    """
    learner = cell_settings(cell).build(SinusoidFamily.spec)
    by = divisors(cell)

    def init(generator: Generator) -> Params:
        drawn = learner.init(generator)
        return drawn | {
            key: (2 * torch.rand(drawn[key].shape, generator=generator) - 1) / by.get(key, by[key[0]])
            for key in drawn
            if key != "added"
        }

    if cell.learner == "cavia":
        return learner._replace(init=init)

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        loss, parts = learner.meta_loss(meta, task, generator)
        return loss + IDLE_WEIGHT * idleness(meta), parts

    return learner._replace(init=init, meta_loss=meta_loss)


def idleness(meta: Params) -> Tensor:
    """How far hidden units are below a mean of `AWAKE` over the tenth of the inputs that excite them most, summed.

    The gradient of a unit that is zero for all inputs is zero, too, so training would never bring it back.
    """
    inputs = torch.linspace(-5, 5, 60)[:, None]
    first = inputs @ meta["0.weight"] + meta["0.bias"]
    if "added" in meta:
        first = first + meta["added"] @ meta["added_weight"]
    second = first.relu() @ meta["1.weight"] + meta["1.bias"]
    return (AWAKE - torch.cat([first, second], 1).topk(6, 0).values.mean(0)).relu().sum()


def divisors(cell: Cell) -> dict[str, float]:
    """Key, or its first character -> what initial weights and biases are divided by: sqrt(inputs of the layer).

    MAML's inner step is a tenth of CAVIA's, and moves everything. For the added inputs to be what a wave moves most,
    the weights that read them begin large, and those of the last layer begin at half of what they would be.
    """
    by = dict.fromkeys("0a", math.sqrt(1 + cell.added)) | dict.fromkeys("12", math.sqrt(40))
    if cell.learner == "maml":
        by |= {"0": 1.0, "a": math.sqrt(max(cell.added, 1) / 2), "2.weight": 2 * math.sqrt(40)}
    return by
