"""Amortized Bayesian meta-learning: a few steps of the evidence lower bound from a prior (Ravi and Beatson 2019)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from npcmeta import heads, inner_loop, networks, variational
from npcmeta.learners.choices import Settled
from npcmeta.types import BehaviorSpec, Examples, Learner, Params, Task
from npcmeta.variational import Gaussian

MIN_LOG_STD, MAX_LOG_STD = -6.0, 0.0
"""Bounds every weight's log standard deviation, the prior's smoothly and that of an adapted NPC by clamping."""


@dataclass(frozen=True)
class AbmlSettings(Settled):
    """Settings of amortized Bayesian meta-learning."""

    hidden: tuple[int, ...] = (128, 128)
    """Sizes of the hidden layers."""
    activation: networks.Activation = "relu"
    """relu or tanh."""
    inner_rate: float = 0.1
    """Step size of the inner loop."""
    inner_steps: int = 5
    """Steps of the inner loop, M."""
    inner_clip: float = 2.0
    """Largest norm of one task's inner gradient."""
    prior_std: float = 0.05
    """Standard deviation of every weight before training."""
    draws: int = 4
    """How many draws of a task's weights share its query set; 1 is the paper's, with which draws hardly differ."""
    kl_share: float = 0.1
    """Weight of the KL to the prior, inside and outside of the inner loop; 1 is the paper's."""
    unadapted_share: float = 0.3
    """Weight of the loss before adapting beside the loss after it."""

    def build(self, spec: BehaviorSpec) -> Learner:
        """Builds the learner for characters of this spec."""
        return build(self, spec)


def build(settings: AbmlSettings, spec: BehaviorSpec) -> Learner:
    """Every weight is normally distributed, at first as in the prior, which is what training learns.

    The acting state is one draw of the weights, mean + std * noise; memory are the log standard deviations and the
    noise, from which the mean follows. An update makes M steps on the support set's bound in nats per decision,
    NLL + kl_share * KL(weights || weights before the update) / K, under the state's own noise.

    Deviations from the paper: one fixed draw for each NPC instead of several fresh ones in each step; the KL pulls
    the means by a proximal step, which is stable for any spread; a later update is anchored to where it started
    from, as in Bayes' rule, and not to the prior again; `draws` draws are judged as a mixture; the KL counts less
    (`kl_share`), as there are far more weights than decisions; no prior over the prior; the loss before adapting is
    added.
    """
    head = heads.build_head(spec.action)
    sizes = (spec.observation_size, *settings.hidden, head.num_params)
    shapes = {key: value.shape for key, value in networks.init_mlp(Generator(), sizes).items()}
    num_weights = sum(shape.numel() for shape in shapes.values())

    def init(generator: Generator) -> Params:
        raw = variational.unbounded(settings.prior_std, MIN_LOG_STD, MAX_LOG_STD)
        spreads = {f"spread.{key}": torch.full(shape, raw) for key, shape in shapes.items()}
        return networks.with_prefix("mean.", networks.init_mlp(generator, sizes)) | spreads

    def by_weight(noise: Tensor) -> Params:
        """The noise [T, num_weights] in the shapes of the weights."""
        parts = noise.split([shape.numel() for shape in shapes.values()], -1)
        return {key: part.reshape(-1, *shapes[key]) for key, part in zip(shapes, parts, strict=True)}

    def beliefs(state: Params) -> dict[str, Gaussian]:
        """How a state's weights are distributed."""
        noise = by_weight(state["noise"])
        spread = {key: state[f"log_std.{key}"] for key in shapes}
        return {key: Gaussian(state[key] - torch.exp(spread[key]) * noise[key], spread[key]) for key in shapes}

    def pack(belief: dict[str, Gaussian], noise: Tensor) -> Params:
        shaken = by_weight(noise)
        spread = {f"log_std.{key}": gaussian.log_std for key, gaussian in belief.items()}
        return {key: gaussian.draw(shaken[key]) for key, gaussian in belief.items()} | spread | {"noise": noise}

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        spread = {key: variational.bounded(meta[f"spread.{key}"], MIN_LOG_STD, MAX_LOG_STD) for key in shapes}
        means = inner_loop.stack(networks.under_prefix("mean.", meta), num_tasks)
        spreads = inner_loop.stack(spread, num_tasks)
        return pack({key: Gaussian(means[key], spreads[key]) for key in shapes}, noise)

    def steps(meta: Params, state: Params, examples: Examples) -> Iterator[Params]:
        yield state
        anchor, noise = beliefs(state), by_weight(state["noise"])
        shots = examples.weight.sum(-1)
        share = settings.kl_share / shots.clamp_min(1e-6)
        belief, reached = anchor, state
        for _ in range(settings.inner_steps):
            weights = {key: reached[key] for key in shapes}
            gradient = inner_loop.support_gradient(head, weights, examples, settings.activation, settings.inner_clip)
            belief = {
                key: variational_step(settings.inner_rate, belief[key], anchor[key], gradient[key], noise[key], share)
                for key in shapes
            }
            moved = pack(belief, state["noise"])
            # A task without examples keeps its weights to the bit, which mean + std * noise may not give back.
            reached = {k: torch.where(inner_loop.along_tasks(shots > 0, v), moved[k], v) for k, v in state.items()}
            yield reached

    update = inner_loop.to_the_end(steps)
    num_steps = inner_loop.always(settings.inner_steps)

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        return networks.forward({key: state[key] for key in shapes}, observation, settings.activation)[0]

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        support, query = (repeat(part, settings.draws) for part in task)
        decisions = task.query.weight.sum(-1).clamp_min(1.0)
        rows, dtype = support.weight.shape[0], support.weight.dtype
        start = begin(meta, rows, torch.randn(rows, num_weights, generator=generator, dtype=dtype))
        reached = update(meta, start, support)

        def query_nll(state: Params) -> Tensor:
            """That of the mixture of draws, all decisions of a query set under the same one."""
            nll = head.nll(predict(meta, state, query.observation), query.action, query.action_mask)
            whole = (nll * query.weight).sum(-1).reshape(settings.draws, -1)
            return ((math.log(settings.draws) - torch.logsumexp(-whole, 0)) / decisions).mean()

        posterior, prior = beliefs(reached), beliefs(start)
        apart = [variational.divergence(posterior[key], prior[key]).flatten(1).sum(-1) for key in shapes]
        kl = (torch.stack(apart).sum(0).reshape(settings.draws, -1).mean(0) / decisions).mean()
        adapted, unadapted = query_nll(reached), query_nll(start)
        measured = {"adapted_nll": adapted, "kl": kl, "unadapted_nll": unadapted}
        loss = adapted + settings.kl_share * kl + settings.unadapted_share * unadapted
        return loss, {name: float(value.detach()) for name, value in measured.items()}

    def embed(meta: Params, state: Params) -> Tensor:
        """How far the last layer is from the prior's mean, so that the most typical character is at the origin."""
        layer = f"{len(settings.hidden)}.weight"
        return (state[layer] - meta[f"mean.{layer}"]).flatten(1)

    memory = (*(f"log_std.{key}" for key in shapes), "noise")
    return Learner(
        tuple(shapes), memory, num_weights, head, init, begin, steps, num_steps, update, predict, meta_loss, embed
    )


def variational_step(
    rate: float, belief: Gaussian, anchor: Gaussian, gradient: Tensor, noise: Tensor, share: Tensor
) -> Gaussian:
    """One step of a weight's distribution on NLL + share * KL(belief || anchor).

    Args:
        rate: Step size.
        belief: Where the step starts.
        anchor: What the KL pulls towards.
        gradient: That of the mean NLL by the drawn weight, mean + std * noise.
        noise: What the weight was drawn with.
        share: How much the KL counts beside the mean NLL, [T].
    """
    share = inner_loop.along_tasks(share, gradient)
    pull = rate * share * torch.exp(-2 * anchor.log_std)
    mean = (belief.mean - rate * gradient + pull * anchor.mean) / (1 + pull)
    wider = torch.exp(2 * (belief.log_std - anchor.log_std)) - 1
    slope = gradient * noise * torch.exp(belief.log_std) + share * wider
    return Gaussian(mean, (belief.log_std - rate * slope).clamp(MIN_LOG_STD, MAX_LOG_STD))


def repeat(examples: Examples, times: int) -> Examples:
    """The same tasks several times over, one round after another."""
    return examples.map(lambda part: part.repeat(times, *[1] * (part.dim() - 1)))
