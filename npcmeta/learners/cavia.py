"""CAVIA: a character is a context vector, found by gradient steps on it alone (Zintgraf et al. 2019, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Generator, Tensor

from npcmeta import heads, inner_loop, networks
from npcmeta.learners import modulated_network
from npcmeta.learners.choices import Settled
from npcmeta.learners.modulated_network import ModulatedNetwork
from npcmeta.learners.query_loss import query_loss
from npcmeta.types import BehaviorSpec, Examples, Head, Learner, Params, Task


@dataclass(frozen=True)
class CaviaSettings(Settled):
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
    image: tuple[int, ...] = ()
    """Height, width and, unless it is 1, channels where observations are pictures; four blocks of convolution then take
    the place of the hidden layers, and the context scales and shifts the channels of the third."""
    filters: int = 32
    """Channels behind each block of convolution."""

    def build(self, spec: BehaviorSpec) -> Learner:
        """Builds the learner for characters of this spec."""
        return build(self, spec)


def build(settings: CaviaSettings, spec: BehaviorSpec) -> Learner:
    """CAVIA with the context as added inputs of the network. The state is the context [T, context], zero at first.

    Deviations from the paper: the gradient of each task is clipped, its step size grows with its number of examples
    (`prior_examples`; 0 is the paper's), and the meta-loss includes the loss before adapting (`unadapted_share`; 0 is
    the paper's).
    """
    head = heads.build_head(spec.action, settings.fixed_std)
    network = network_of(settings, head, spec)

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        return {"context": next(iter(meta.values())).new_zeros(num_tasks, settings.context)}

    def steps(meta: Params, state: Params, examples: Examples) -> Iterator[Params]:
        slope = network.slope(meta, examples)
        pace = inner_loop.step_size(settings.inner_rate, settings.prior_examples, examples.weight.sum(-1))
        return inner_loop.gradient_steps(
            lambda state: {"context": slope(state["context"])},
            state,
            {"context": pace.unsqueeze(-1)},
            steps=settings.inner_steps,
            clip=settings.inner_clip or None,
        )

    update = inner_loop.to_the_end(steps)
    num_steps = inner_loop.always(settings.inner_steps)

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        return network.run(meta, state["context"], observation, None)

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        def decode(state: Params) -> Tensor:
            return network.run(meta, state["context"], task.query.observation, generator)

        start = begin(meta, task.support.weight.shape[0], task.support.weight)
        adapted, unadapted = decode(update(meta, start, task.support)), decode(start)
        return query_loss(head, task.query, adapted, unadapted, settings.unadapted_share)

    def embed(meta: Params, state: Params) -> Tensor:
        return state["context"]

    return Learner(("context",), (), 0, head, network.init, begin, steps, num_steps, update, predict, meta_loss, embed)


def network_of(settings: CaviaSettings, head: Head, spec: BehaviorSpec) -> ModulatedNetwork:
    """The network that the settings ask for."""
    if settings.image:
        return modulated_network.of_pictures(
            head, settings.image, settings.filters, settings.context, spec.observation_size
        )
    sizes = (spec.observation_size, *settings.hidden, head.num_params)
    return modulated_network.perceptron(head, sizes, settings.activation, settings.context, settings.dropout)
