"""Conditional neural process: the mean of the encoded examples is the character (Garnelo et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from npcmeta import heads, inner_loop, networks, neural_process
from npcmeta.learners.choices import Settled
from npcmeta.learners.query_loss import mean_nll
from npcmeta.types import BehaviorSpec, Examples, Learner, Params, Task


@dataclass(frozen=True)
class CnpSettings(Settled):
    """Settings of the conditional neural process."""

    hidden: tuple[int, ...] = (128, 128)
    """Sizes of the decoder's hidden layers."""
    encoder: tuple[int, ...] = (128,)
    """Sizes of the encoder's hidden layers."""
    code: int = 128
    """Size of the code of an example."""
    context: int = 32
    """Size of the context vector that a character is."""
    activation: networks.Activation = "relu"
    """relu or tanh."""
    dropout: float = 0.1
    """Share of hidden units left out while training."""
    prior_examples: float = 10.0
    """How many examples the average character counts for."""
    unadapted_share: float = 0.3
    """Weight of the loss without any example beside the loss with them."""

    def build(self, spec: BehaviorSpec) -> Learner:
        """Builds the learner for characters of this spec."""
        return build(self, spec)


def build(settings: CnpSettings, spec: BehaviorSpec) -> Learner:
    """The state is the sum of the codes [T, code] and their count [T, 1]; adapting adds to both.

    Deviations from the paper: the encoder does not see the action itself but what was surprising about it, the
    gradient of the example's NLL under the unadapted policy, and multiplies it with features of the observation;
    `prior_examples` examples without surprise are counted in, so the mean is defined and shrunk towards the average
    character; the context scales and shifts every hidden layer (FiLM, Perez et al. 2018) instead of being one more
    input, and is zero without examples; a loss without examples is added.
    """
    head = heads.build_head(spec.action)
    activation = settings.activation

    def init(generator: Generator) -> Params:
        parts = {
            "features": ((spec.observation_size, *settings.encoder, settings.code), 1.0),
            "surprise": ((head.num_params, settings.code), 1.0),
            "context": ((settings.code + 1, 2 * settings.context, settings.context), 1.0),
            "modulation": ((settings.context, 2 * sum(settings.hidden)), 0.1),
            "decoder": ((spec.observation_size, *settings.hidden, head.num_params), 0.1),
        }
        return neural_process.init(generator, parts)

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        like = meta["surprise.0.weight"]
        return {"sum": like.new_zeros(num_tasks, settings.code), "count": like.new_zeros(num_tasks, 1)}

    def update(meta: Params, state: Params, examples: Examples) -> Params:
        expected = neural_process.decode(meta, None, examples.observation, activation)
        return neural_process.collect(meta, head, state, expected, examples, activation)

    steps = inner_loop.at_once(update)
    num_steps = inner_loop.always(1)

    def context(meta: Params, state: Params) -> Tensor:
        mean_code, share = neural_process.summarise(state, settings.prior_examples)
        # Without examples the context is zero, and the policy is the unadapted one.
        return share * neural_process.run(meta, "context", torch.cat([mean_code, share], -1), activation)

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        return neural_process.decode(meta, context(meta, state), observation, activation)

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        def query_nll(character: Tensor | None) -> Tensor:
            seen = task.query.observation
            output = neural_process.decode(meta, character, seen, activation, settings.dropout, generator)
            return mean_nll(head, output, task.query)

        start = begin(meta, task.support.weight.shape[0], task.support.weight)
        adapted = query_nll(context(meta, update(meta, start, task.support)))
        unadapted = query_nll(None)
        loss = adapted + settings.unadapted_share * unadapted
        return loss, {"adapted_nll": float(adapted.detach()), "unadapted_nll": float(unadapted.detach())}

    return Learner(("sum", "count"), (), 0, head, init, begin, steps, num_steps, update, predict, meta_loss, context)
