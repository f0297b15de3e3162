"""MAML with added inputs: parameters that the network reads beside the observation (bias transformation, Finn 2017).

CAVIA's Table 1 compares with it. Weights and inputs multiply, so the fast forms of `npcmeta/dual.py` do not apply.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from npcmeta import heads, inner_loop, networks
from npcmeta.learners.query_loss import query_loss
from npcmeta.types import BehaviorSpec, Examples, Learner, Params, Task

if TYPE_CHECKING:
    from npcmeta.learners.maml import MamlSettings


def build(settings: MamlSettings, spec: BehaviorSpec) -> Learner:
    """MAML on every weight of the network and its added inputs, which are the state.

    Deviations from the paper are those of `maml`.
    """
    head = heads.build_head(spec.action, settings.fixed_std)
    sizes = (spec.observation_size, *settings.hidden, head.num_params)

    def init(generator: Generator) -> Params:
        return networks.init_mlp_with_added_inputs(generator, sizes, settings.added_inputs)

    keys = tuple(init(Generator()))

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        return inner_loop.stack(meta, num_tasks)

    def steps(meta: Params, state: Params, examples: Examples) -> Iterator[Params]:
        return inner_loop.sgd_steps(
            head,
            state,
            examples,
            activation=settings.activation,
            rate=inner_loop.step_size(settings.inner_rate, settings.prior_examples, examples.weight.sum(-1)),
            steps=settings.inner_steps,
            clip=settings.inner_clip or None,
        )

    def num_steps(shots: Tensor) -> Tensor:
        return settings.inner_steps * (shots > 0).to(torch.int64)

    def update(meta: Params, state: Params, examples: Examples) -> Params:
        return inner_loop.last(steps(meta, state, examples))

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        return networks.forward(state, observation, settings.activation)[0]

    def adapt(meta: Params, task: Task) -> Params:
        if not settings.first_order:
            return update(meta, begin(meta, task.support.weight.shape[0], task.support.weight), task.support)
        fixed = {key: value.detach() for key, value in meta.items()}
        start = begin(fixed, task.support.weight.shape[0], task.support.weight)
        reached = update(fixed, start, task.support)
        # The value of the adapted weights, with the gradient of the identity: what FOMAML is.
        return {key: meta[key] + (reached[key] - fixed[key]) for key in reached}

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        adapted, unadapted = (
            networks.forward_with_dropout(
                weights, task.query.observation, settings.activation, settings.dropout, generator
            )
            for weights in (adapt(meta, task), meta)
        )
        return query_loss(head, task.query, adapted, unadapted, settings.unadapted_share)

    def embed(meta: Params, state: Params) -> Tensor:
        return moved_last_layer(meta, state, len(settings.hidden))

    return Learner(keys, (), 0, head, init, begin, steps, num_steps, update, predict, meta_loss, embed)


def moved_last_layer(meta: Params, state: Params, layer: int) -> Tensor:
    """How far the weights of a layer are from the shared ones, [T, in * out]: 0 for an unadapted character."""
    return (state[f"{layer}.weight"] - meta[f"{layer}.weight"]).flatten(1)
