"""Matching networks: do what was done in those remembered situations that are like this one (Vinyals et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from npcmeta import heads, inner_loop
from npcmeta.learners import memory
from npcmeta.learners.choices import Settled
from npcmeta.learners.query_loss import query_loss
from npcmeta.types import BehaviorSpec, Examples, Learner, Params, Task

FLOOR = 1e-8
"""Added to every probability, so that its logarithm is finite."""


@dataclass(frozen=True)
class MatchingSettings(memory.MemorySettings, Settled):
    """Settings of matching networks."""

    embedding: int = 32
    """Size of the key of an example."""
    capacity: int = 512
    """How many examples a character remembers; beyond that the oldest are forgotten."""
    sharpness: float = 10.0
    """How fast attention falls with the cosine when training begins; it is learned from there."""
    prior_examples: float = 1.0
    """How many examples just like the present situation the prior policy counts for when training begins; it is
    learned from there."""

    def build(self, spec: BehaviorSpec) -> Learner:
        """Builds the learner for characters of this spec."""
        return build(self, spec)


def build(settings: MatchingSettings, spec: BehaviorSpec) -> Learner:
    """The state is a memory of the latest examples: keys [T, M, E], actions [T, M, C + W] and weights [T, M].

    p(y|x) = sum a(x, x_i) y_i (equation 1), where a is proportional to w_i exp(sharpness (cos(x, x_i) - 1)).
    Deviations from the paper: one embedding serves both sides, without full context embeddings; the sharpness is
    learned; one more slot, whose attention is a learned constant, holds a learned prior policy, so that there is
    something to do without examples and few of them change little; what is remembered of a continuous action is how it
    differs from the prior policy's, whose mean it moves, and the spread is learned, with and without examples; a loss
    without examples is added.
    """
    head = heads.build_head(spec.action)
    continuous, branches = spec.action.continuous_size, spec.action.branch_sizes
    features = memory.features_of(settings, spec.observation_size)

    def init(generator: Generator) -> Params:
        params = features.init(generator)
        params |= memory.init_linear(generator, "key", features.size, settings.embedding, 1.0)
        params |= memory.init_linear(generator, "prior", features.size, head.num_params, 0.1)
        names = {"prior.count": 1, "sharpness": 1} | ({"spread": continuous} if continuous else {})
        return params | {name: torch.zeros(size) for name, size in names.items()}

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        return blank(meta, num_tasks, settings.capacity)

    def blank(meta: Params, num_tasks: int, slots: int) -> Params:
        zeros = meta["key.0.weight"].new_zeros
        return {
            "key": zeros(num_tasks, slots, settings.embedding),
            "action": zeros(num_tasks, slots, continuous + spec.action.mask_size),
            "weight": zeros(num_tasks, slots),
        }

    def keep(meta: Params, state: Params, seen: Tensor, examples: Examples) -> Params:
        """The state after more examples, from their features [T, S, F]."""
        action = heads.action_features(examples.action, spec.action, seen.dtype)
        surprise = action[..., :continuous] - memory.linear(meta, "prior", seen)[..., :continuous]
        action = torch.cat([surprise, action[..., continuous:]], -1)
        return remember(
            state, {"key": keys(meta, seen), "action": action, "weight": examples.weight}, settings.capacity
        )

    def keys(meta: Params, seen: Tensor) -> Tensor:
        key = memory.linear(meta, "key", seen)
        return key * torch.rsqrt(key.square().sum(-1, keepdim=True) + 1e-8)

    def update(meta: Params, state: Params, examples: Examples) -> Params:
        return keep(meta, state, features.run(meta, examples.observation, None), examples)

    steps = inner_loop.at_once(update)
    num_steps = inner_loop.always(1)

    def attend(meta: Params, state: Params, key: Tensor) -> tuple[Tensor, Tensor]:
        """Attention of keys [T, Q, E] to the examples [T, Q, M], and to the prior policy [T, Q, 1]; together 1."""
        sharpness = settings.sharpness * meta["sharpness"].exp()
        cosine = key @ state["key"].transpose(-1, -2)
        likeness = state["weight"].clamp_min(0.0).unsqueeze(-2) * torch.exp(sharpness * (cosine - 1))
        null = memory.prior_count(settings.prior_examples, meta["prior.count"])
        total = null + likeness.sum(-1, keepdim=True)
        return likeness / total, null / total

    def recall(meta: Params, state: Params, seen: Tensor) -> Tensor:
        """Head parameters for the features [T, Q, F] of observations."""
        attention, unknown = attend(meta, state, keys(meta, seen))
        moved, made = (attention @ state["action"]).split([continuous, spec.action.mask_size], -1)
        prior = memory.linear(meta, "prior", seen)
        mean, spread, logits = prior.split([continuous, continuous, spec.action.mask_size], -1)
        moves = [mean + moved, spread + (1 - unknown) * meta["spread"]] if continuous else []
        made = made.clamp_min(0.0)  # so that whatever a state holds, something can be played
        pairs = zip(made.split(branches, -1), logits.split(branches, -1), strict=True) if branches else ()
        choices = [(share + unknown * logit.softmax(-1) + FLOOR).log() for share, logit in pairs]
        return torch.cat([*moves, *choices], -1)

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        return recall(meta, state, features.run(meta, observation, None))

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        seen = features.run(meta, torch.cat([part.observation for part in task], 1), generator)
        support, query = seen.split([part.weight.shape[1] for part in task], 1)
        empty = blank(meta, seen.shape[0], 0)
        adapted = recall(meta, keep(meta, empty, support, task.support), query)
        unadapted = recall(meta, empty, query)
        return query_loss(head, task.query, adapted, unadapted, settings.unadapted_share)

    def embed(meta: Params, state: Params) -> Tensor:
        """What was done where: the sum of keys times actions, over the weights and as much again as the prior has."""
        weight = state["weight"].clamp_min(0.0).unsqueeze(-1)
        done = state["key"].transpose(-1, -2) @ (weight * state["action"])
        null = memory.prior_count(settings.prior_examples, meta["prior.count"])
        return (done / (null + weight.sum(1, keepdim=True))).flatten(1)

    acting = ("key", "action", "weight")
    return Learner(acting, (), 0, head, init, begin, steps, num_steps, update, predict, meta_loss, embed)


def remember(state: Params, fresh: Params, capacity: int) -> Params:
    """The newest examples of both, at most `capacity`; the newest is in the first slot, empty slots are last.

    Args:
        state: What is remembered: "weight" [T, M], which is 0 in an empty slot, and others [T, M, ...].
        fresh: The same of new examples [T, S, ...], the oldest first. Those of weight 0 take no slot.
        capacity: Slots that there are.
    """
    joined = {key: torch.cat([value.flip(1), state[key]], 1) for key, value in fresh.items()}
    kept = joined["weight"] > 0
    count = kept.shape[1]
    rank = kept * count - torch.arange(count, device=kept.device)
    slots = rank.topk(min(capacity, count), -1).indices
    filled = kept.gather(1, slots)

    def taken(value: Tensor) -> Tensor:
        trailing = value.shape[2:]
        index = slots.reshape(*slots.shape, *[1] * len(trailing)).expand(-1, -1, *trailing)
        return torch.where(filled.reshape(*slots.shape, *[1] * len(trailing)), value.gather(1, index), 0.0)

    return {key: taken(value) for key, value in joined.items()}
