"""MAML: an initialisation from which a few gradient steps on a support set do well (Finn et al. 2017, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Generator, Tensor

from npcmeta import dual, heads, inner_loop, networks
from npcmeta.dual import Descent
from npcmeta.learners import maml_by_steps
from npcmeta.learners.choices import Settled
from npcmeta.learners.query_loss import query_loss
from npcmeta.meta_gradient import InnerLoop, predict_adapted
from npcmeta.types import BehaviorSpec, Examples, Learner, Params, Task


@dataclass(frozen=True)
class MamlSettings(Settled):
    """Settings of MAML."""

    hidden: tuple[int, ...] = (128, 128)
    """Sizes of the hidden layers."""
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
    `inner_rate`, so that a handful of examples moves a character little. 0 is the paper's."""
    dropout: float = 0.0
    """Share of hidden units left out while training, outside of the inner loop."""
    unadapted_share: float = 0.3
    """Weight of the loss before adapting beside the loss after it, so that an NPC plays well before any example."""
    first_order: bool = False
    """Leave out the second derivatives (FOMAML)."""
    added_inputs: int = 0
    """Inputs that are parameters, learned and adapted with all others; 0 is the paper's."""
    image: tuple[int, ...] = ()
    """Height, width and, unless it is 1, channels where observations are pictures; four blocks of convolution, which
    adapt too, then take the place of the hidden layers."""
    filters: int = 32
    """Channels behind each block of convolution."""
    fixed_std: float = 0.0
    """Standard deviation of continuous actions; 0 learns it."""

    def build(self, spec: BehaviorSpec) -> Learner:
        """Builds the learner for characters of this spec."""
        return maml_by_steps.build(self, spec) if self.added_inputs or self.image else build(self, spec)


@dataclass(frozen=True)
class FomamlSettings(MamlSettings):
    """Settings of first-order MAML."""

    first_order: bool = True
    """Leave out the second derivatives (FOMAML)."""


def build(settings: MamlSettings, spec: BehaviorSpec) -> Learner:
    """MAML on every weight of the network, which are the state.

    Deviations from the paper: the gradient of each task is clipped, its step size grows with its number of examples
    (`prior_examples`; 0 is the paper's), and the meta-loss includes the loss before adapting (`unadapted_share`; 0 is
    the paper's).
    """
    head = heads.build_head(spec.action, settings.fixed_std)
    sizes = (spec.observation_size, *settings.hidden, head.num_params)

    def init(generator: Generator) -> Params:
        return networks.init_mlp(generator, sizes)

    keys = tuple(init(Generator()))

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        return inner_loop.stack(meta, num_tasks)

    def descent(examples: Examples) -> Descent:
        rate = inner_loop.step_size(settings.inner_rate, settings.prior_examples, examples.weight.sum(-1))
        return Descent(settings.activation, rate, settings.inner_steps, settings.inner_clip or None)

    def steps(meta: Params, state: Params, examples: Examples) -> Iterator[Params]:
        return dual.sgd_states(head, state, examples, descent(examples))

    def update(meta: Params, state: Params, examples: Examples) -> Params:
        layers = dual.begin_from(state, examples, settings.inner_steps)
        return dual.weights(dual.adapt(head, layers, examples, descent(examples)))

    num_steps = inner_loop.always(settings.inner_steps)

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        return networks.forward(state, observation, settings.activation)[0]

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        observation = task.query.observation
        shapes = [(*observation.shape[:-1], size) for size in settings.hidden] if settings.dropout else []
        kept = [networks.draw_kept(shape, settings.dropout, generator, observation.dtype) for shape in shapes]
        loop = InnerLoop(head, task.support, descent(task.support))
        adapted = predict_adapted(loop, meta, observation, first_order=settings.first_order, kept=kept)
        unadapted = networks.forward_with_dropout(meta, observation, settings.activation, settings.dropout, generator)
        return query_loss(head, task.query, adapted, unadapted, settings.unadapted_share)

    def embed(meta: Params, state: Params) -> Tensor:
        return inner_loop.moved_layer(meta, state, f"{len(settings.hidden)}.")

    return Learner(keys, (), 0, head, init, begin, steps, num_steps, update, predict, meta_loss, embed)
