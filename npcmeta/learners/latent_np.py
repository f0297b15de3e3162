"""Latent neural process: examples say which characters are plausible, and noise picks one (Garnelo et al. 2018b)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from npcmeta import heads, inner_loop, networks, neural_process, variational
from npcmeta.learners.choices import Settled
from npcmeta.learners.query_loss import mean_nll
from npcmeta.types import BehaviorSpec, Examples, Learner, Params, Task
from npcmeta.variational import Gaussian

MIN_LOG_STD = -5.0
"""How sure of a character any number of examples can make, in log standard deviations of the prior."""


@dataclass(frozen=True)
class LatentNpSettings(Settled):
    """Settings of the latent neural process."""

    hidden: tuple[int, ...] = (128, 128)
    """Sizes of the decoder's hidden layers."""
    encoder: tuple[int, ...] = (128,)
    """Sizes of the encoder's hidden layers."""
    code: int = 128
    """Size of the code of an example."""
    latent: int = 16
    """Size of the latent variable that a character is."""
    activation: networks.Activation = "relu"
    """relu or tanh."""
    dropout: float = 0.1
    """Share of hidden units left out while training."""
    prior_examples: float = 1.0
    """How many examples the average character counts for."""
    unadapted_share: float = 0.3
    """Weight of the losses without any example beside the loss with them."""

    def build(self, spec: BehaviorSpec) -> Learner:
        """Builds the learner for characters of this spec."""
        return build(self, spec)


def build(settings: LatentNpSettings, spec: BehaviorSpec) -> Learner:
    """The state is the sum of the codes [T, code], their count [T, 1] and the noise [T, latent]; adapting adds.

    The codes say how a latent variable is distributed; the noise picks its value, which modulates the decoder. Without
    examples the distribution is standard normal, so an NPC is drawn from the prior, and noise of zero, or no latent
    variable at all, is the average policy.

    The meta-loss is the paper's bound in nats per query decision: the NLL of the query set under a draw from
    q(z | support, query), plus KL(q(z | support, query) || q(z | support)) shared out over the decisions. Deviations
    from the paper: codes of surprise and a modulated decoder instead of concatenated inputs, as in `cnp`; the bound
    for an empty support set, KL(q(z | support, query) || N(0, 1)), and the NLL at z = 0 are added, both times
    `unadapted_share`.
    """
    head = heads.build_head(spec.action)
    activation = settings.activation

    def init(generator: Generator) -> Params:
        parts = {
            "features": ((spec.observation_size, *settings.encoder, settings.code), 1.0),
            "surprise": ((head.num_params, settings.code), 1.0),
            "latent": ((settings.code + 1, settings.code, 2 * settings.latent), 1.0),
            "modulation": ((settings.latent, 2 * sum(settings.hidden)), 0.1),
            "decoder": ((spec.observation_size, *settings.hidden, head.num_params), 0.1),
        }
        return neural_process.init(generator, parts)

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        like = meta["surprise.0.weight"]
        nothing = {"sum": like.new_zeros(num_tasks, settings.code), "count": like.new_zeros(num_tasks, 1)}
        return nothing | {"noise": noise}

    def update(meta: Params, state: Params, examples: Examples) -> Params:
        expected = neural_process.decode(meta, None, examples.observation, activation)
        return state | neural_process.collect(meta, head, state, expected, examples, activation)

    steps = inner_loop.at_once(update)
    num_steps = inner_loop.always(1)

    def latent(meta: Params, state: Params) -> Gaussian:
        """How the latent variable is distributed given a state; standard normal without examples."""
        mean_code, share = neural_process.summarise(state, settings.prior_examples)
        known = neural_process.run(meta, "latent", torch.cat([mean_code, share], -1), activation)
        mean, raw = known.chunk(2, -1)
        return Gaussian(share * mean, share * variational.bounded(raw, MIN_LOG_STD, 0.0))

    def drawn(meta: Params, state: Params) -> Tensor:
        return latent(meta, state).draw(state["noise"])

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        return neural_process.decode(meta, drawn(meta, state), observation, activation)

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        rows, dtype = task.support.weight.shape[0], task.support.weight.dtype
        noise = torch.randn(rows, settings.latent, generator=generator, dtype=dtype)

        def query_nll(character: Tensor | None) -> Tensor:
            seen = task.query.observation
            output = neural_process.decode(meta, character, seen, activation, settings.dropout, generator)
            return mean_nll(head, output, task.query)

        def per_decision(left: Gaussian, right: Gaussian) -> Tensor:
            decisions = task.query.weight.sum(-1).clamp_min(1.0)
            return (variational.divergence(left, right).sum(-1) / decisions).mean()

        start = begin(meta, rows, noise)
        supported = update(meta, start, task.support)
        prior, guess, posterior = (latent(meta, s) for s in (start, supported, update(meta, supported, task.query)))
        nll, average_nll = query_nll(posterior.draw(noise)), query_nll(None)
        kl, prior_kl = per_decision(posterior, guess), per_decision(posterior, prior)
        loss = nll + kl + settings.unadapted_share * (average_nll + prior_kl)
        measured = {"nll": nll, "kl": kl, "average_nll": average_nll, "prior_kl": prior_kl}
        return loss, {name: float(value.detach()) for name, value in measured.items()}

    acting = ("sum", "count", "noise")
    return Learner(acting, (), settings.latent, head, init, begin, steps, num_steps, update, predict, meta_loss, drawn)
