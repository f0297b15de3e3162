"""MAML whose outer step is autograd through the steps of the inner loop, for networks without a faster form.

Those are convolutions, and perceptrons with added inputs: parameters that the network reads beside the observation
(bias transformation, Finn 2017), with which CAVIA's Table 1 compares. Weights and added inputs multiply, so the forms
of `npcmeta/dual.py` do not apply.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from npcmeta import heads, inner_loop
from npcmeta.learners import adapted_network
from npcmeta.learners.adapted_network import AdaptedNetwork
from npcmeta.learners.query_loss import query_loss
from npcmeta.types import BehaviorSpec, Examples, Head, Learner, Params, Task

if TYPE_CHECKING:
    from npcmeta.learners.maml import MamlSettings


def build(settings: MamlSettings, spec: BehaviorSpec) -> Learner:
    """MAML on every weight of the network and its added inputs, which are the state.

    Deviations from the paper are those of `maml`.

    Raises:
        ValueError: If there shall be pictures and added inputs, or observations are not pictures of that shape.
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

    def adapt(meta: Params, task: Task) -> Params:
        if not settings.first_order:
            return update(meta, begin(meta, task.support.weight.shape[0], task.support.weight), task.support)
        fixed = {key: value.detach() for key, value in meta.items()}
        start = begin(fixed, task.support.weight.shape[0], task.support.weight)
        reached = update(fixed, start, task.support)
        # The value of the adapted weights, with the gradient of the identity: what FOMAML is.
        return {key: meta[key] + (reached[key] - fixed[key]) for key in reached}

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        adapted = network.run(adapt(meta, task), task.query.observation, generator)
        with torch.set_grad_enabled(torch.is_grad_enabled() and settings.unadapted_share > 0):
            unadapted = network.run(meta, task.query.observation, generator)
        return query_loss(head, task.query, adapted, unadapted, settings.unadapted_share)

    def embed(meta: Params, state: Params) -> Tensor:
        return inner_loop.moved_layer(meta, state, network.last)

    return Learner(keys, (), 0, head, network.init, begin, steps, num_steps, update, predict, meta_loss, embed)


def network_of(settings: MamlSettings, head: Head, spec: BehaviorSpec) -> AdaptedNetwork:
    """The network that the settings ask for."""
    if settings.image and settings.added_inputs:
        raise ValueError(f"settings image and added_inputs={settings.added_inputs} exclude each other; leave out one")
    if settings.image:
        return adapted_network.of_pictures(head, settings.image, settings.filters, spec.observation_size)
    sizes = (spec.observation_size, *settings.hidden, head.num_params)
    return adapted_network.perceptron(
        head, sizes, settings.activation, dropout=settings.dropout, added=settings.added_inputs
    )
