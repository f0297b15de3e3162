"""Meta-SGD: MAML that also learns the step size of every single weight (Li et al. 2017, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from npcmeta import heads, inner_loop, networks
from npcmeta.learners.choices import Settled
from npcmeta.learners.query_loss import query_loss
from npcmeta.types import BehaviorSpec, Examples, Learner, Params, Task


@dataclass(frozen=True)
class MetaSgdSettings(Settled):
    """Settings of Meta-SGD."""

    hidden: tuple[int, ...] = (128, 128)
    """Sizes of the hidden layers."""
    activation: networks.Activation = "relu"
    """relu or tanh."""
    inner_rate: float = 0.1
    """Step size that every weight begins with."""
    inner_steps: int = 1
    """Steps of the inner loop, M; the paper makes one."""
    inner_clip: float = 2.0
    """Largest norm of one task's inner gradient; 0 sets none, as in the paper."""
    prior_examples: float = 0.0
    """How many examples the initialisation counts for: with K of them every step is K / (K + prior_examples) of what
    it would be. 0 is the paper's."""
    dropout: float = 0.0
    """Share of hidden units left out while training, outside of the inner loop."""
    unadapted_share: float = 0.3
    """Weight of the loss before adapting beside the loss after it, so that an NPC plays well before any example."""
    fixed_std: float = 0.0
    """Standard deviation of continuous actions; 0 learns it."""

    def build(self, spec: BehaviorSpec) -> Learner:
        """Builds the learner for characters of this spec."""
        return build(self, spec)


def build(settings: MetaSgdSettings, spec: BehaviorSpec) -> Learner:
    """Meta-SGD on every weight of the network, which are the state.

    The step size of a weight is `inner_rate` (1 + r), with r a meta-parameter `rate.*` that begins at zero. So it may
    become negative, as in the paper, and weight decay draws it to `inner_rate`.

    Deviations from the paper: step sizes begin equal instead of random, the gradient of each task is clipped, steps
    grow with the number of examples (`prior_examples`; 0 is the paper's), and the meta-loss includes the loss before
    adapting (`unadapted_share`; 0 is the paper's).
    """
    head = heads.build_head(spec.action, settings.fixed_std)
    sizes = (spec.observation_size, *settings.hidden, head.num_params)
    keys = tuple(networks.init_mlp(Generator(), sizes))

    def init(generator: Generator) -> Params:
        weights = networks.init_mlp(generator, sizes)
        return weights | {f"rate.{key}": torch.zeros_like(value) for key, value in weights.items()}

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        return inner_loop.stack({key: meta[key] for key in keys}, num_tasks)

    def steps(meta: Params, state: Params, examples: Examples) -> Iterator[Params]:
        def gradient(state: Params) -> Params:
            return inner_loop.support_gradient(head, state, examples, settings.activation)

        pace = inner_loop.step_size(settings.inner_rate, settings.prior_examples, examples.weight.sum(-1))
        rates = {key: inner_loop.along_tasks(pace, state[key]) * (1 + meta[f"rate.{key}"]) for key in keys}
        return inner_loop.gradient_steps(
            gradient, state, rates, steps=settings.inner_steps, clip=settings.inner_clip or None
        )

    update = inner_loop.to_the_end(steps)
    num_steps = inner_loop.always(settings.inner_steps)

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        return networks.forward(state, observation, settings.activation)[0]

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        def decode(weights: Params) -> Tensor:
            return networks.forward_with_dropout(
                weights, task.query.observation, settings.activation, settings.dropout, generator
            )

        start = begin(meta, task.support.weight.shape[0], task.support.weight)
        adapted, unadapted = decode(update(meta, start, task.support)), decode({key: meta[key] for key in keys})
        return query_loss(head, task.query, adapted, unadapted, settings.unadapted_share)

    def embed(meta: Params, state: Params) -> Tensor:
        return inner_loop.moved_layer(meta, state, f"{len(settings.hidden)}.")

    return Learner(keys, (), 0, head, init, begin, steps, num_steps, update, predict, meta_loss, embed)
