"""CAVIA: a character is a context vector, found by gradient steps on it alone (Zintgraf et al. 2019, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from npcmeta import heads, inner_loop, networks
from npcmeta.learners.query_loss import query_loss
from npcmeta.types import BehaviorSpec, Examples, Learner, Params, Task


@dataclass(frozen=True)
class CaviaSettings:
    """Settings of CAVIA."""

    hidden: tuple[int, ...] = (128, 128)
    """Sizes of the hidden layers."""
    context: int = 16
    """Size of the context vector that a character is."""
    activation: networks.Activation = "relu"
    """relu or tanh."""
    inner_rate: float = 1.0
    """Step size of the inner loop."""
    inner_steps: int = 3
    """Steps of the inner loop, M."""
    inner_clip: float = 2.0
    """Largest norm of one task's inner gradient; 0 sets none, as in the paper."""
    prior_examples: float = 0.0
    """How many examples the empty context counts for: with K of them the step size is K / (K + prior_examples) of
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

    def candidates(self) -> list[CaviaSettings]:
        """Nothing is left to choose after training: the inner loop was trained as it is."""
        return [self]


def build(settings: CaviaSettings, spec: BehaviorSpec) -> Learner:
    """CAVIA with the context as added inputs of the network. The state is the context [T, context], zero at first.

    Deviations from the paper: the gradient of each task is clipped, its step size grows with its number of examples
    (`prior_examples`; 0 is the paper's), and the meta-loss includes the loss before adapting (`unadapted_share`; 0 is
    the paper's).
    """
    head = heads.build_head(spec.action, settings.fixed_std)
    sizes = (spec.observation_size, *settings.hidden, head.num_params)

    def init(generator: Generator) -> Params:
        params = networks.init_mlp_with_added_inputs(generator, sizes, settings.context)
        del params["added"]  # it is the state, and begins at zero
        return params

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        return {"context": meta["added_weight"].new_zeros(num_tasks, settings.context)}

    def network(meta: Params, state: Params) -> Params:
        return meta | {"added": state["context"]}

    def steps(meta: Params, state: Params, examples: Examples) -> Iterator[Params]:
        def gradient(state: Params) -> Params:
            weights = network(meta, state)
            output, inputs = networks.forward(weights, examples.observation, settings.activation)
            slope = inner_loop.output_gradient(head, output, examples)
            return {"context": networks.backward_to_added_inputs(weights, inputs, slope, settings.activation)}

        pace = inner_loop.step_size(settings.inner_rate, settings.prior_examples, examples.weight.sum(-1))
        rates = {"context": pace.unsqueeze(-1)}
        return inner_loop.gradient_steps(
            gradient, state, rates, steps=settings.inner_steps, clip=settings.inner_clip or None
        )

    def num_steps(shots: Tensor) -> Tensor:
        return settings.inner_steps * (shots > 0).to(torch.int64)

    def update(meta: Params, state: Params, examples: Examples) -> Params:
        return inner_loop.last(steps(meta, state, examples))

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        return networks.forward(network(meta, state), observation, settings.activation)[0]

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        def decode(state: Params) -> Tensor:
            return networks.forward_with_dropout(
                network(meta, state), task.query.observation, settings.activation, settings.dropout, generator
            )

        start = begin(meta, task.support.weight.shape[0], task.support.weight)
        adapted, unadapted = decode(update(meta, start, task.support)), decode(start)
        return query_loss(head, task.query, adapted, unadapted, settings.unadapted_share)

    def embed(meta: Params, state: Params) -> Tensor:
        return state["context"]

    return Learner(("context",), (), 0, head, init, begin, steps, num_steps, update, predict, meta_loss, embed)
