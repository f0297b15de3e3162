"""Conditional neural process: the mean of the encoded examples is the character (Garnelo et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from npcmeta import heads, inner_loop, networks
from npcmeta.types import BehaviorSpec, Examples, Learner, Params, Task


@dataclass(frozen=True)
class CnpSettings:
    """Settings of the conditional neural process."""

    hidden: tuple[int, ...] = (128, 128)
    """Sizes of the decoder's hidden layers."""
    encoder: tuple[int, ...] = (128, 128)
    """Sizes of the encoder's hidden layers."""
    code: int = 128
    """Size of the code of an example, and of the context vector that a character is."""
    activation: networks.Activation = "relu"
    """relu or tanh."""
    dropout: float = 0.1
    """Share of hidden units left out while training."""
    prior_examples: float = 10.0
    """How many examples the learned prior code counts for."""
    unadapted_share: float = 0.3
    """Weight of the loss without any example beside the loss with them."""

    def build(self, spec: BehaviorSpec) -> Learner:
        """Builds the learner for characters of this spec."""
        return build(self, spec)

    def candidates(self) -> list[CnpSettings]:
        """Nothing is left to choose after training."""
        return [self]


def build(settings: CnpSettings, spec: BehaviorSpec) -> Learner:
    """The state is the sum of the codes [T, code] and their count [T, 1]; adapting adds to both.

    Deviations from the paper: a learned prior code stands for `prior_examples` examples, so the mean is defined,
    and shrunk towards the average character, from the first example on; the mean, and how much of it came from
    examples, scales and shifts every hidden layer (FiLM, Perez et al. 2018) instead of being one more input; a
    loss without examples is added.
    """
    head = heads.build_head(spec.action)
    example_size = spec.observation_size + spec.action.continuous_size + spec.action.mask_size
    encoder_sizes = (example_size, *settings.encoder, settings.code)
    decoder_sizes = (spec.observation_size, *settings.hidden, head.num_params)
    modulation_sizes = (settings.code + 1, 2 * sum(settings.hidden))

    def init(generator: Generator) -> Params:
        encoder = networks.init_mlp(generator, encoder_sizes, last_scale=1.0)
        modulation = networks.init_mlp(generator, modulation_sizes)
        decoder = networks.init_mlp(generator, decoder_sizes)
        return {
            **networks.with_prefix("encoder.", encoder),
            **networks.with_prefix("modulation.", modulation),
            **networks.with_prefix("decoder.", decoder),
            "prior": torch.zeros(settings.code),
        }

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        like = meta["prior"]
        return {"sum": like.new_zeros(num_tasks, settings.code), "count": like.new_zeros(num_tasks, 1)}

    def update(meta: Params, state: Params, examples: Examples) -> Params:
        return add(state, encode(meta, examples), examples.weight)

    def steps(meta: Params, state: Params, examples: Examples) -> Iterator[Params]:
        yield state
        yield update(meta, state, examples)

    def num_steps(shots: Tensor) -> Tensor:
        return (shots > 0).to(torch.int64)

    def encode(meta: Params, examples: Examples) -> Tensor:
        taken = heads.action_features(examples.action, spec.action, examples.observation.dtype)
        pairs = torch.cat([examples.observation, taken], -1)
        return networks.forward(networks.under_prefix("encoder.", meta), pairs, settings.activation)[0]

    def add(state: Params, codes: Tensor, weight: Tensor) -> Params:
        gathered = (codes * weight.unsqueeze(-1)).sum(-2)
        return {"sum": state["sum"] + gathered, "count": state["count"] + weight.sum(-1, keepdim=True)}

    def context(meta: Params, state: Params) -> Tensor:
        evidence = state["count"] + settings.prior_examples
        mean = (state["sum"] + settings.prior_examples * meta["prior"]) / evidence
        return torch.cat([mean, state["count"] / evidence], -1)

    def decode(meta: Params, state: Params, observation: Tensor, generator: Generator | None = None) -> Tensor:
        modulation = networks.affine(networks.under_prefix("modulation.", meta), 0, context(meta, state).unsqueeze(-2))
        decoder = networks.under_prefix("decoder.", meta)
        function, _ = networks.ACTIVATIONS[settings.activation]
        x = observation
        for i, part in enumerate(modulation.split([2 * size for size in settings.hidden], -1)):
            scale, shift = part.chunk(2, -1)
            x = function(networks.affine(decoder, i, x) * (1 + scale) + shift)
            x = x if generator is None else networks.dropout(x, settings.dropout, generator)
        return networks.affine(decoder, len(settings.hidden), x)

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        return decode(meta, state, observation)

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        def query_nll(state: Params) -> Tensor:
            output = decode(meta, state, task.query.observation, generator)
            nll = head.nll(output, task.query.action, task.query.action_mask) * task.query.weight
            return (nll / inner_loop.total_weight(task.query)).sum(-1).mean()

        start = begin(meta, task.support.weight.shape[0], task.support.weight)
        adapted, unadapted = query_nll(update(meta, start, task.support)), query_nll(start)
        loss = adapted + settings.unadapted_share * unadapted
        return loss, {"adapted_nll": float(adapted.detach()), "unadapted_nll": float(unadapted.detach())}

    return Learner(("sum", "count"), (), 0, head, init, begin, steps, num_steps, update, predict, meta_loss, context)
