"""Fine-tuning: a well trained average policy, then gradient steps whose number grows with the shots.

The honest baseline. With a fixed number of steps, fine-tuning on a handful of examples is worse than not adapting at
all; with steps in proportion to the number of examples it is hard to beat at several hundred.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from npcmeta import heads, inner_loop, networks
from npcmeta.learners.choices import Choice
from npcmeta.types import BehaviorSpec, Examples, Learner, Params, Task

RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings of the fine-tuning baseline."""

    hidden: tuple[int, ...] = (128, 128)
    """Sizes of the hidden layers."""
    activation: networks.Activation = "relu"
    """relu or tanh."""
    dropout: float = 0.2
    """Share of hidden units left out while the average policy is trained."""
    inner_rate: float = 3e-4
    """Step size of Adam while fine-tuning; training replaces it by the best of `RATES` on validation tasks."""
    steps_per_example: float = 0.08
    """How many steps each example is worth."""
    min_steps: int = 2
    """At least this many steps, if there is any example."""
    max_steps: int = 40
    """At most this many steps."""

    def build(self, spec: BehaviorSpec) -> Learner:
        """Builds the learner for characters of this spec."""
        return build(self, spec)

    def choices(self, spec: BehaviorSpec) -> list[Choice]:
        """Inner rates to choose from on validation tasks, once the average policy is trained."""
        return [Choice([{"inner_rate": rate} for rate in RATES])]


def build(settings: FinetuneSettings, spec: BehaviorSpec) -> Learner:
    """Fine-tuning with Adam from the average policy. The state is every weight of the network."""
    head = heads.build_head(spec.action)
    sizes = (spec.observation_size, *settings.hidden, head.num_params)
    keys = tuple(networks.init_mlp(Generator(), sizes))

    def init(generator: Generator) -> Params:
        return networks.init_mlp(generator, sizes)

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        return inner_loop.stack(meta, num_tasks)

    def steps(meta: Params, state: Params, examples: Examples) -> Iterator[Params]:
        return inner_loop.adam_steps(
            head,
            state,
            examples,
            activation=settings.activation,
            rate=settings.inner_rate,
            steps=num_steps(examples.weight.sum(-1)),
        )

    def num_steps(shots: Tensor) -> Tensor:
        return number_of_steps(settings, shots)

    update = inner_loop.to_the_end(steps)

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        return networks.forward(state, observation, settings.activation)[0]

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        """The pooled NLL of all examples, whoever they are of: it trains the average policy."""
        total, weight = meta["0.weight"].new_zeros(()), 0.0
        for part in task:
            output = networks.forward_with_dropout(
                meta, part.observation, settings.activation, settings.dropout, generator
            )
            total = total + (head.nll(output, part.action, part.action_mask) * part.weight).sum()
            weight += float(part.weight.sum())
        loss = total / max(weight, 1e-12)
        return loss, {"pooled_nll": float(loss.detach())}

    def embed(meta: Params, state: Params) -> Tensor:
        return state[f"{len(settings.hidden)}.bias"]

    return Learner(keys, (), 0, head, init, begin, steps, num_steps, update, predict, meta_loss, embed)


def number_of_steps(settings: FinetuneSettings, shots: Tensor) -> Tensor:
    """Steps for each task [T] int64, from its number of examples [T]: none without examples, then in proportion."""
    wanted = torch.round(settings.steps_per_example * shots).clamp(settings.min_steps, settings.max_steps)
    return torch.where(shots > 0, wanted, torch.zeros_like(wanted)).to(torch.int64)
