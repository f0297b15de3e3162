"""PLATIPUS: initial weights are drawn, from where a gradient step says, and then go MAML's way (Finn et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from npcmeta import heads, inner_loop, networks, variational
from npcmeta.learners.choices import Settled
from npcmeta.learners.query_loss import mean_nll
from npcmeta.types import BehaviorSpec, Examples, Learner, Params, Task
from npcmeta.variational import Gaussian

MIN_LOG_STD = -5.0
"""Bounds how narrow the distribution that has seen the query set can be, in log standard deviations of the prior."""
DIRECTION_SCALE = 0.1
"""How much a draw changes an untrained network, beside its own weights."""


@dataclass(frozen=True)
class PlatipusSettings(Settled):
    """Settings of PLATIPUS."""

    hidden: tuple[int, ...] = (128, 128)
    """Sizes of the hidden layers."""
    activation: networks.Activation = "relu"
    """relu or tanh."""
    directions: int = 8
    """In how many directions, each across all weights, the initial weights are uncertain."""
    inner_rate: float = 0.1
    """Step size of the inner loop."""
    inner_steps: int = 5
    """Steps of the inner loop, M."""
    inner_clip: float = 2.0
    """Largest norm of one task's inner gradient."""
    prior_examples: float = 0.0
    """With K examples the step size is K / (K + prior_examples) of `inner_rate`; 0 is the paper's."""
    dropout: float = 0.0
    """Share of hidden units left out while training, outside of the inner loop."""
    unadapted_share: float = 0.3
    """Weight of the losses without any example beside the losses with them."""

    def build(self, spec: BehaviorSpec) -> Learner:
        """Builds the learner for characters of this spec."""
        return build(self, spec)


def build(settings: PlatipusSettings, spec: BehaviorSpec) -> Learner:
    """The acting state is every weight of the network; memory are the noise and the number of examples so far.

    Initial weights are mean + z @ directions, where z [T, directions] is standard normal without examples. The first
    update shifts the distribution of z by a gradient step on the support set, draws with the state's noise, and makes
    M SGD steps on all weights; later updates go on with SGD steps, the shorter the more examples there were before.
    The meta-loss is the paper's bound (algorithm 1) in nats per query decision.

    Deviations from the paper: the Gaussian lies along learned directions instead of each weight having a variance of
    its own, for independent noise on weights makes no plausible characters; the variance after the shift falls with
    the number of examples; the variational distribution is shifted by support and query set together; the NLL of
    draws from the prior, which is what a character is before its examples, and the distance from it are added.
    """
    head = heads.build_head(spec.action)
    sizes = (spec.observation_size, *settings.hidden, head.num_params)
    shapes = {key: value.shape for key, value in networks.init_mlp(Generator(), sizes).items()}
    activation, clip = settings.activation, settings.inner_clip

    def init(generator: Generator) -> Params:
        mean = networks.init_mlp(generator, sizes)
        params = networks.with_prefix("mean.", mean)
        for key, shape in shapes.items():
            scale = DIRECTION_SCALE / math.sqrt(shape[0] if len(shape) == 2 else 1)
            # In place, because out of place the same arithmetic on torch's "meta" device is slow to import.
            params[f"directions.{key}"] = torch.randn(settings.directions, *shape, generator=generator).mul_(scale)
        for name, value in {"prior": 1.0, "support": 1.0, "query": 1.0}.items():
            params[f"rate.{name}"] = torch.full((settings.directions,), value)
        params["information"] = torch.full((settings.directions,), -2.0)
        params["spread"] = torch.full((settings.directions,), -1.0)
        return params

    def place(meta: Params, z: Tensor) -> Params:
        """The weights [T, ...] that z [T, directions] stands for."""
        moved = {key: z @ meta[f"directions.{key}"].flatten(1) for key in shapes}
        return {key: meta[f"mean.{key}"] + moved[key].reshape(-1, *shape) for key, shape in shapes.items()}

    def descent(meta: Params, examples: Examples) -> Tensor:
        """The downward slope by z, at z = 0, of the examples' mean NLL, [T, directions]."""
        mean = inner_loop.stack(networks.under_prefix("mean.", meta), examples.weight.shape[0])
        gradients = inner_loop.support_gradient(head, mean, examples, activation, clip)
        along = [gradients[key].flatten(1) @ meta[f"directions.{key}"].flatten(1).T for key in shapes]
        return -torch.stack(along).sum(0)

    def shifted_prior(meta: Params, slope: Tensor, shots: Tensor) -> Gaussian:
        """How z is distributed after `shots` [T, 1] examples with this slope; standard normal after none."""
        precision = 1 + torch.nn.functional.softplus(meta["information"]) * shots
        return Gaussian(meta["rate.prior"] * slope, -0.5 * torch.log(precision))

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        return place(meta, noise) | {"noise": noise, "count": noise.new_zeros(num_tasks, 1)}

    def descend(weights: Params, examples: Examples, earlier: Tensor) -> Iterator[Params]:
        """SGD steps behind `earlier` examples [T], which weigh against these as the prior does."""
        rate = inner_loop.step_size(settings.inner_rate, settings.prior_examples + earlier, examples.weight.sum(-1))
        return inner_loop.sgd_steps(
            head, weights, examples, activation=activation, rate=rate, steps=settings.inner_steps, clip=clip
        )

    def steps(meta: Params, state: Params, examples: Examples) -> Iterator[Params]:
        yield state
        shots = examples.weight.sum(-1, keepdim=True)
        drawn = place(meta, shifted_prior(meta, descent(meta, examples), shots).draw(state["noise"]))
        first = ((state["count"] == 0) & (shots > 0)).squeeze(-1)
        start = {k: torch.where(inner_loop.along_tasks(first, v), v, state[k]) for k, v in drawn.items()}
        memory = {"noise": state["noise"], "count": state["count"] + shots}
        for step, weights in enumerate(descend(start, examples, state["count"].squeeze(-1))):
            if step > 0:  # the draw and the first SGD step count as one
                yield weights | memory

    update = inner_loop.to_the_end(steps)
    num_steps = inner_loop.always(settings.inner_steps)

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        return networks.forward({key: state[key] for key in shapes}, observation, activation)[0]

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        shots, decisions = (part.weight.sum(-1, keepdim=True) for part in task)
        noise = torch.randn(len(shots), settings.directions, generator=generator, dtype=shots.dtype)
        support, query = (descent(meta, part) for part in task)
        nothing = torch.zeros_like(shots)
        guess, prior = shifted_prior(meta, support, shots), shifted_prior(meta, 0 * support, nothing)
        log_std = variational.bounded(meta["spread"], MIN_LOG_STD, 0.0).expand_as(query)
        posterior = Gaussian(meta["rate.support"] * support + meta["rate.query"] * query, log_std)
        drawn = place(meta, posterior.draw(noise))
        adapted = inner_loop.last(descend(drawn, task.support, nothing.squeeze(-1)))

        def query_nll(weights: Params) -> Tensor:
            seen = task.query.observation
            output = networks.forward_with_dropout(weights, seen, activation, settings.dropout, generator)
            return mean_nll(head, output, task.query)

        def kl(right: Gaussian) -> Tensor:
            return (variational.divergence(posterior, right) / decisions.clamp_min(1.0)).sum(-1).mean()

        measured = {
            "nll": query_nll(adapted),
            "kl": kl(guess),
            "drawn_nll": query_nll(place(meta, noise)),
            "prior_kl": kl(prior),
        }
        loss = measured["nll"] + measured["kl"]
        loss = loss + settings.unadapted_share * (measured["drawn_nll"] + measured["prior_kl"])
        return loss, {name: float(value.detach()) for name, value in measured.items()}

    def embed(meta: Params, state: Params) -> Tensor:
        """How far the last layer is from the mean, so that the most typical unadapted character is at the origin."""
        layer = f"{len(settings.hidden)}.weight"
        return (state[layer] - meta[f"mean.{layer}"]).flatten(1)

    memory, size = ("noise", "count"), settings.directions
    return Learner(tuple(shapes), memory, size, head, init, begin, steps, num_steps, update, predict, meta_loss, embed)
