"""Reptile: move towards where plain training on each task ends (Nichol et al. 2018, algorithm 2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from npcmeta import heads, inner_loop, networks
from npcmeta.learners import adapted_network
from npcmeta.learners.adapted_network import AdaptedNetwork
from npcmeta.learners.choices import Choice
from npcmeta.learners.query_loss import mean_nll, query_loss
from npcmeta.types import Action, BehaviorSpec, Examples, Head, Learner, Params, Task

STEPS = (2, 4, 8, 16, 32)


@dataclass(frozen=True)
class ReptileSettings:
    """Settings of Reptile."""

    hidden: tuple[int, ...] = (128, 128)
    """Sizes of the hidden layers."""
    activation: networks.Activation = "relu"
    """relu or tanh."""
    inner_rate: float = 0.1
    """Step size of the inner loop."""
    training_steps: int = 8
    """Steps on each task while meta-training."""
    minibatch: int = 10
    """Examples of a task in each of these steps; 0 takes all of them every time."""
    inner_steps: int = 8
    """Steps of the inner loop when a character is adapted; training replaces it by the best of `STEPS` on validation
    tasks."""
    inner_clip: float = 2.0
    """Largest norm of one task's inner gradient; 0 sets none, as in the paper."""
    prior_examples: float = 0.0
    """How many examples the initialisation counts for: with K of them the step size is K / (K + prior_examples) of
    `inner_rate`. 0 is the paper's."""
    unadapted_share: float = 0.0
    """Weight of the loss before adapting beside one task's training, so that an NPC plays well before any example. 0
    is the paper's."""
    fixed_std: float = 0.0
    """Standard deviation of continuous actions; 0 learns it."""
    image: tuple[int, ...] = ()
    """Height, width and, unless it is 1, channels where observations are pictures; four blocks of convolution, which
    adapt too, then take the place of the hidden layers."""
    filters: int = 32
    """Channels behind each block of convolution."""

    def build(self, spec: BehaviorSpec) -> Learner:
        """Builds the learner for characters of this spec."""
        return build(self, spec)

    def choices(self, spec: BehaviorSpec) -> list[Choice]:
        """Numbers of steps to choose from on validation tasks: training does not say how many suit a few examples."""
        return [Choice([{"inner_steps": steps} for steps in STEPS])]


def build(settings: ReptileSettings, spec: BehaviorSpec) -> Learner:
    """Reptile on every weight of the network, which are the state.

    While training, a task is all its examples, support and query; its steps are made on minibatches of them, without
    which Reptile would find no more than the average policy (section 5 of the paper). The meta-loss is half the squared
    distance to the weights reached, taken as fixed, so its gradient is the paper's.

    Deviations from the paper: every minibatch is drawn afresh instead of going through a shuffled task, inner steps
    are SGD without Adam's moments, the gradient of each task is clipped, the step size grows with the number of
    examples (`prior_examples`; 0 is the paper's), and the meta-loss may include the loss before adapting
    (`unadapted_share`), in proportion to how far a task's steps can lead.
    """
    head = heads.build_head(spec.action, settings.fixed_std)
    network = network_of(settings, head, spec)
    keys = tuple(network.init(Generator()))

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        return inner_loop.stack(meta, num_tasks)

    def steps(meta: Params, state: Params, examples: Examples) -> Iterator[Params]:
        return adapted_network.descend(settings, network, state, examples, settings.inner_steps)

    update = inner_loop.to_the_end(steps)
    num_steps = inner_loop.always(settings.inner_steps)

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        return network.run(state, observation, None)

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        with torch.no_grad():
            start = begin(meta, task.support.weight.shape[0], task.support.weight)
            reached = train_on_minibatches(settings, network, start, task, generator)
            adapted = predict(meta, update(meta, start, task.support), task.query.observation)
        unadapted = network.run(meta, task.query.observation, None)
        _, metrics = query_loss(head, task.query, adapted, unadapted.detach(), 0.0)
        moved = [(meta[key] - reached[key]).square().flatten(1).sum(-1).mean() for key in keys]
        loss = 0.5 * torch.stack(moved).sum()
        if settings.unadapted_share:
            reach = settings.unadapted_share * settings.inner_rate * settings.training_steps
            loss = loss + reach * mean_nll(head, unadapted, task.query)
        return loss, metrics

    def embed(meta: Params, state: Params) -> Tensor:
        return inner_loop.moved_layer(meta, state, network.last)

    return Learner(keys, (), 0, head, network.init, begin, steps, num_steps, update, predict, meta_loss, embed)


def network_of(settings: ReptileSettings, head: Head, spec: BehaviorSpec) -> AdaptedNetwork:
    """The network that the settings ask for."""
    if settings.image:
        return adapted_network.of_pictures(head, settings.image, settings.filters, spec.observation_size)
    sizes = (spec.observation_size, *settings.hidden, head.num_params)
    return adapted_network.perceptron(head, sizes, settings.activation)


def train_on_minibatches(
    settings: ReptileSettings, network: AdaptedNetwork, weights: Params, task: Task, generator: Generator
) -> Params:
    """The weights that plain training on all examples of each task reaches, without a gradient of their own."""
    examples = joined(task)
    if not settings.minibatch:
        return inner_loop.last(adapted_network.descend(settings, network, weights, examples, settings.training_steps))
    for _ in range(settings.training_steps):
        drawn = draw_minibatch(examples, settings.minibatch, generator)
        weights = inner_loop.last(adapted_network.descend(settings, network, weights, drawn, 1))
    return weights


def draw_minibatch(examples: Examples, size: int, generator: Generator) -> Examples:
    """Up to `size` examples of every task, no example twice; padding only where a task has fewer."""
    order = torch.rand(examples.weight.shape, generator=generator).masked_fill(examples.weight == 0, -1.0)
    rows = order.topk(min(size, order.shape[1]), -1).indices

    def taken(part: Tensor) -> Tensor:
        return part.gather(1, rows.reshape(*rows.shape, *[1] * (part.dim() - 2)).expand(-1, -1, *part.shape[2:]))

    return examples.map(taken)


def joined(task: Task) -> Examples:
    """All examples of each task, those of the support set first."""
    support, query = task
    action = Action(*(torch.cat(pair, 1) for pair in zip(support.action, query.action, strict=True)))
    observation, mask, weight = (
        torch.cat([getattr(support, name), getattr(query, name)], 1)
        for name in ("observation", "action_mask", "weight")
    )
    return Examples(observation, action, mask, weight)
