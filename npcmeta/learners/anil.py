"""ANIL: only the last layer adapts, on features that all characters share (Raghu et al. 2020, section 4)."""

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
class AnilSettings(Settled):
    """Settings of ANIL."""

    hidden: tuple[int, ...] = (128, 128)
    """Sizes of the hidden layers, which all characters share."""
    activation: networks.Activation = "relu"
    """relu or tanh."""
    inner_rate: float = 0.1
    """Step size of the inner loop."""
    inner_steps: int = 5
    """Steps of the inner loop, M."""
    inner_clip: float = 2.0
    """Largest norm of one task's inner gradient; 0 sets none, as in the paper."""
    prior_examples: float = 0.0
    """How many examples the initialisation counts for: with K of them the step size is K / (K + prior_examples) of
    `inner_rate`. 0 is the paper's."""
    dropout: float = 0.0
    """Share of hidden units left out while training, outside of the inner loop."""
    unadapted_share: float = 0.3
    """Weight of the loss before adapting beside the loss after it, so that an NPC plays well before any example."""
    fixed_std: float = 0.0
    """Standard deviation of continuous actions; 0 learns it."""

    def build(self, spec: BehaviorSpec) -> Learner:
        """Builds the learner for characters of this spec."""
        return build(self, spec)


def build(settings: AnilSettings, spec: BehaviorSpec) -> Learner:
    """ANIL. The state is the last layer, weights [T, h, P] and biases [T, P]; the layers before it are shared.

    Deviations from the paper: the gradient of each task is clipped, its step size grows with its number of examples
    (`prior_examples`; 0 is the paper's), and the meta-loss includes the loss before adapting (`unadapted_share`; 0 is
    the paper's).
    """
    head = heads.build_head(spec.action, settings.fixed_std)
    sizes = (spec.observation_size, *settings.hidden, head.num_params)
    last = f"{len(settings.hidden)}."
    keys = (f"{last}weight", f"{last}bias")

    def init(generator: Generator) -> Params:
        return networks.init_mlp(generator, sizes)

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        return inner_loop.stack({key: meta[key] for key in keys}, num_tasks)

    def steps(meta: Params, state: Params, examples: Examples) -> Iterator[Params]:
        """The last layer is a network of its own, whose observations are the features."""
        _, (*_, features) = networks.forward(meta, examples.observation, settings.activation)
        reached = inner_loop.sgd_steps(
            head,
            networks.with_prefix("0.", networks.under_prefix(last, state)),
            examples._replace(observation=features),
            activation=settings.activation,
            rate=inner_loop.step_size(settings.inner_rate, settings.prior_examples, examples.weight.sum(-1)),
            steps=settings.inner_steps,
            clip=settings.inner_clip or None,
        )
        return (networks.with_prefix(last, networks.under_prefix("0.", weights)) for weights in reached)

    update = inner_loop.to_the_end(steps)
    num_steps = inner_loop.always(settings.inner_steps)

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        return networks.forward(meta | state, observation, settings.activation)[0]

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        def decode(state: Params) -> Tensor:
            return networks.forward_with_dropout(
                meta | state, task.query.observation, settings.activation, settings.dropout, generator
            )

        start = begin(meta, task.support.weight.shape[0], task.support.weight)
        adapted, unadapted = decode(update(meta, start, task.support)), decode({})
        return query_loss(head, task.query, adapted, unadapted, settings.unadapted_share)

    def embed(meta: Params, state: Params) -> Tensor:
        # Relative to the shared weights, so that an unadapted character is at the origin.
        return torch.cat([(state[key] - meta[key]).flatten(1) for key in keys], -1)

    return Learner(keys, (), 0, head, init, begin, steps, num_steps, update, predict, meta_loss, embed)
