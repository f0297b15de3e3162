"""`bayes` without a context: the average policy, and a matrix for each character: how it differs, in features."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from npcmeta import heads, inner_loop, networks, posterior
from npcmeta.learners.query_loss import mean_nll
from npcmeta.types import Action, BehaviorSpec, Examples, Learner, Params, Task

if TYPE_CHECKING:
    from npcmeta.learners.bayes import BayesSettings

POSTERIOR_SHARE = 0.25
"""Weight of the loss that teaches the posterior; small, so that clipping the gradient does not slow the rest."""
SITUATIONS = 64
"""Over so many of them it is asked how well a character is known."""
GROWTH, TYPICAL_SHOTS = 0.2, 50.0
"""What an example counts for grows with the number of examples to this power; it is what is learned at the second."""


def build(settings: BayesSettings, spec: BehaviorSpec) -> Learner:
    """Acting state: each member's differences V^T [T, members, P, D]; memory: the evidence for them, for refining.

    The logistic sibling of ALPaCA (Harrison et al. 2018), in several members whose outputs are averaged: what they
    find in a support set differs, and the mean is better than the best of them. The average policy is trained on
    everybody's examples as if there were no characters; the features learn what it leaves unexplained of a
    character's query set after the fit to its support set, without changing it. They read its layers, and one of their
    own, for what tells characters apart and is of no use to the average.
    """
    head = heads.build_head(spec.action)
    sizes = (spec.observation_size, *settings.hidden, head.num_params)
    seen_sizes = (*sizes[:-1], settings.feature_layer)
    function, _ = networks.ACTIVATIONS[settings.activation]
    activation, members, num_features = settings.activation, settings.members, settings.features + 1

    # Observations come standardised, so these are situations of all kinds.
    drawn = Generator().manual_seed(0)
    situations = torch.randn(1, SITUATIONS, spec.observation_size, generator=drawn, dtype=torch.float32)
    # Means and spreads come first, see `heads`.
    believed = torch.ones(head.num_params, dtype=torch.float32)
    means = spec.action.continuous_size
    believed[:means], believed[means : 2 * means] = settings.mean_share, settings.spread_share

    def init(generator: Generator) -> Params:
        params: Params = {"tempering": torch.zeros(1)}
        inputs, own_layer = sum(seen_sizes), (sizes[0], settings.feature_layer)
        for member in range(members):
            params |= networks.with_prefix(f"member.{member}.", networks.init_mlp(generator, sizes))
            params |= networks.with_prefix(
                f"feature_layer.{member}.", networks.init_mlp(generator, own_layer, last_scale=1.0)
            )
            weight = torch.randn(inputs, settings.features, generator=generator) / math.sqrt(inputs)
            params |= {f"traits.{member}.weight": weight, f"traits.{member}.bias": torch.zeros(settings.features)}
        return params

    def networks_of(meta: Params) -> list[Params]:
        return [networks.under_prefix(f"member.{member}.", meta) for member in range(members)]

    def average(meta: Params, observation: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
        """Each member's head parameters [T, members, N, P], and what its features are made of: the layers' inputs.

        Those are rows [T * N, ...], as all weights are shared.
        """
        rows = observation.flatten(0, 1)
        runs = [networks.forward(each, rows, activation) for each in networks_of(meta)]
        return of_members([output for output, _ in runs], observation), [seen for _, seen in runs]

    def traits(meta: Params, inputs: list[list[Tensor]], observation: Tensor) -> Tensor:
        """Features z [T, members, N, D] of observations [T, N, O], the last of them constant."""
        return of_members([traits_of(meta, member, each) for member, each in enumerate(inputs)], observation)

    def traits_of(meta: Params, member: int, inputs: list[Tensor]) -> Tensor:
        weight, bias = meta[f"traits.{member}.weight"], meta[f"traits.{member}.bias"]
        own = function(networks.affine(networks.under_prefix(f"feature_layer.{member}.", meta), 0, inputs[0]))
        parts = torch.cat([weight, torch.zeros_like(weight[:, :1])], -1).split(seen_sizes)
        z = torch.cat([bias, torch.ones_like(bias[:1])])
        for each, part in zip((*inputs, own), parts, strict=True):  # joining the inputs would copy them
            z = torch.addmm(z, each, part)
        return z

    def of_members(rows: list[Tensor], observation: Tensor) -> Tensor:
        """What the members say of rows [T * N, ...], as [T, members, N, ...]."""
        if observation.shape[1] == 1:  # as in games: a graph needs no shapes then
            return torch.stack(rows, 1).unsqueeze(2)
        return torch.stack([each.reshape(*observation.shape[:2], each.shape[-1]) for each in rows], 1)

    def temper(meta: Params, shots: Tensor) -> Tensor:
        learned = torch.exp(meta["tempering"] + GROWTH * torch.log(shots.clamp_min(1.0) / TYPICAL_SHOTS))
        return settings.tempering * learned * shots / (shots + settings.prior_examples).clamp_min(1e-12)

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        like, bends = meta["tempering"], len(head.alike)
        return {
            "weights": like.new_zeros(num_tasks, members, head.num_params, num_features),
            "precision": like.new_zeros(num_tasks, members, bends, num_features, num_features),
            "pull": like.new_zeros(num_tasks, members, num_features, head.num_params),
            "count": like.new_zeros(num_tasks, 1),
            "known": like.new_zeros(num_tasks, 1),
        }

    def update(meta: Params, state: Params, examples: Examples) -> Params:
        expected, inputs = average(meta, examples.observation)
        v, evidence, covariance = fit(meta, state, expected, traits(meta, inputs, examples.observation), examples)
        reached = evidence | {"weights": (v * believed).transpose(-1, -2), "known": known(meta, covariance)}
        told = examples.weight.sum(-1) > 0
        return {key: torch.where(inner_loop.along_tasks(told, v), v, state[key]) for key, v in reached.items()}

    def fit(
        meta: Params, state: Params, expected: Tensor, features: Tensor, examples: Examples
    ) -> tuple[Tensor, Params, Tensor]:
        """V [T, members, D, P], the evidence for it and its covariance, given what was expected and the features."""
        count = state["count"] + examples.weight.sum(-1, keepdim=True)
        earlier = posterior.Evidence(joined(state["precision"]), joined(state["pull"]))
        of_each, tempering = for_members(examples), along_members(temper(meta, count.squeeze(-1)))
        v, evidence, covariance = posterior.fit(
            head, joined(expected), joined(features), of_each, earlier, tempering, settings.inner_steps
        )
        pull, precision = (
            evidence.pull.reshape(state["pull"].shape),
            evidence.precision.reshape(state["precision"].shape),
        )
        kept = {"precision": precision, "pull": pull, "count": count}
        return v.reshape(pull.shape), kept, covariance.reshape(precision.shape)

    def known(meta: Params, covariance: Tensor) -> Tensor:
        """How well characters are known [T, 1], over situations of all kinds."""
        met = situations.to(meta["tempering"].dtype)
        _, inputs = average(meta, met)
        return posterior.known(traits(meta, inputs, met), covariance).mean(-1, keepdim=True)

    def along_members(value: Tensor) -> Tensor:
        """[T, ...] to [T * members, ...], the same for every member."""
        return joined(value.unsqueeze(1).expand(-1, members, *value.shape[1:]))

    def joined(value: Tensor) -> Tensor:
        """[T, members, ...] to [T * members, ...]; a graph cannot tell that size where there are no examples."""
        return value.reshape(value.shape[0] * members, *value.shape[2:])

    def for_members(examples: Examples) -> Examples:
        """The same examples for every member, but for the observations, which nobody reads any more."""
        action = Action(*(along_members(part) for part in examples.action))
        mask, weight = along_members(examples.action_mask), along_members(examples.weight)
        return Examples(weight[..., None], action, mask, weight)

    def steps(meta: Params, state: Params, examples: Examples) -> Iterator[Params]:
        yield state
        yield update(meta, state, examples)

    def num_steps(shots: Tensor) -> Tensor:
        return (shots > 0).to(torch.int64)

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        output, inputs = average(meta, observation)
        moved = turned(state["weights"] @ turned(traits(meta, inputs, observation)))
        of_each = (output + head.unit(output) * moved).unbind(1)
        return sum(of_each[1:], of_each[0]) / members  # several times as fast as a mean, in onnxruntime

    def turned(matrices: Tensor) -> Tensor:
        """The last two axes in turn; where one of them is 1, without a transposition, which makes products slow."""
        if matrices.shape[-2] == 1:
            return matrices.squeeze(-2).unsqueeze(-1)
        return matrices.squeeze(-1).unsqueeze(-2) if matrices.shape[-1] == 1 else matrices.transpose(-1, -2)

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        unadapted = torch.stack([
            mean_nll(head, networks.forward_with_dropout(
                member, task.query.observation, activation, settings.dropout, generator), task.query)
            for member in networks_of(meta)
        ]).mean()  # fmt: skip
        adapted = adapted_nll(meta, task, generator)
        loss = settings.unadapted_share * unadapted + POSTERIOR_SHARE * members * adapted
        return loss, {"adapted_nll": float(adapted.detach()), "unadapted_nll": float(unadapted.detach())}

    def adapted_nll(meta: Params, task: Task, generator: Generator) -> Tensor:
        """NLL of the query sets under each member's V fitted to the support sets; teaches features and tempering."""
        with torch.no_grad():
            (support, support_inputs), (query, query_inputs) = (average(meta, part.observation) for part in task)
        support_features, query_features = (
            traits(
                meta,
                [[networks.dropout(each, settings.feature_dropout, generator) for each in seen] for seen in inputs],
                part.observation,
            )
            for inputs, part in zip((support_inputs, query_inputs), task, strict=True)
        )
        start = begin(meta, task.support.weight.shape[0], task.support.weight)
        v, _, _ = fit(meta, start, support, support_features, task.support)
        adapted = query + head.unit(query) * (query_features @ v)
        return mean_nll(head, adapted.flatten(0, 1), for_members(task.query))

    def embed(meta: Params, state: Params) -> Tensor:
        return state["weights"].flatten(1)

    memory = ("precision", "pull", "count", "known")
    return Learner(("weights",), memory, 0, head, init, begin, steps, num_steps, update, predict, meta_loss, embed)
