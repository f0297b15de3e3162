"""Prototypical networks: a choice is the mean of the embedded examples that made it (Snell et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from npcmeta import heads, inner_loop
from npcmeta.learners import memory
from npcmeta.learners.choices import Settled
from npcmeta.learners.query_loss import query_loss
from npcmeta.types import BehaviorSpec, Examples, Learner, Params, Task


@dataclass(frozen=True)
class ProtonetSettings(memory.MemorySettings, Settled):
    """Settings of prototypical networks."""

    embedding: int = 64
    """Size of an embedding, and of a prototype."""
    prior_examples: float = 5.0
    """How many examples the prior prototype of a choice counts for when training begins; it is learned from there."""

    def build(self, spec: BehaviorSpec) -> Learner:
        """Builds the learner for characters of this spec; raises ValueError if it has continuous actions."""
        return build(self, spec)


def build(settings: ProtonetSettings, spec: BehaviorSpec) -> Learner:
    """The state is, for each choice of each branch, the sum of embeddings [T, W, E] and their count [T, W].

    Deviations from the paper: every choice has a learned prior prototype that counts for a learned number of examples,
    so that a choice which nobody made has a prototype too and the policy without examples is a learned linear one on
    the embedding; choices that are made often are preferred, by a learned multiple of the logarithm of their count,
    which changes nothing where all counts are equal, as in the paper; a loss without examples is added.

    Raises:
        ValueError: If the spec has continuous actions.
    """
    if spec.action.continuous_size:
        raise ValueError(
            f"protonet compares the choices of discrete branches, and this spec has {spec.action.continuous_size} "
            "continuous actions; use matching, cnp or maml"
        )
    head = heads.build_head(spec.action)
    features = memory.features_of(settings, spec.observation_size)

    def init(generator: Generator) -> Params:
        params = features.init(generator)
        params |= memory.init_linear(generator, "embedding", features.size, settings.embedding, 0.1)
        drawn = torch.randn(head.num_params, settings.embedding, generator=generator)
        return params | {
            "prior.prototype": drawn.mul_(0.1),
            "prior.count": torch.zeros(head.num_params),
            "frequency": torch.zeros(1),
        }

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        prototype = meta["prior.prototype"]
        return {
            "sum": prototype.new_zeros(num_tasks, *prototype.shape),
            "count": prototype.new_zeros(num_tasks, head.num_params),
        }

    def embedded(meta: Params, observation: Tensor, generator: Generator | None = None) -> Tensor:
        return memory.linear(meta, "embedding", features.run(meta, observation, generator))

    def add(state: Params, embedding: Tensor, examples: Examples) -> Params:
        made = heads.action_features(examples.action, spec.action, embedding.dtype) * examples.weight.unsqueeze(-1)
        return {"sum": state["sum"] + made.transpose(-1, -2) @ embedding, "count": state["count"] + made.sum(-2)}

    def update(meta: Params, state: Params, examples: Examples) -> Params:
        return add(state, embedded(meta, examples.observation), examples)

    steps = inner_loop.at_once(update)
    num_steps = inner_loop.always(1)

    def prototypes(meta: Params, state: Params) -> tuple[Tensor, Tensor]:
        """Prototypes [T, W, E], and how many examples each is the mean of [T, W], its prior's included."""
        prior = memory.prior_count(settings.prior_examples, meta["prior.count"])
        count = state["count"].clamp_min(0.0) + prior
        total = state["sum"] + prior.unsqueeze(-1) * meta["prior.prototype"]
        return total / count.unsqueeze(-1), count

    def compare(meta: Params, state: Params, embedding: Tensor) -> Tensor:
        """Negative squared distances [T, Q, W], without the square of the embedding, which all choices share."""
        prototype, count = prototypes(meta, state)
        nearness = 2 * embedding @ prototype.transpose(-1, -2) - prototype.square().sum(-1).unsqueeze(-2)
        return nearness + meta["frequency"] * count.log().unsqueeze(-2)

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        return compare(meta, state, embedded(meta, observation))

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        seen = torch.cat([task.support.observation, task.query.observation], 1)
        support, query = embedded(meta, seen, generator).split([part.weight.shape[1] for part in task], 1)
        start = begin(meta, seen.shape[0], task.support.weight)
        adapted = compare(meta, add(start, support, task.support), query)
        return query_loss(head, task.query, adapted, compare(meta, start, query), settings.unadapted_share)

    def embed(meta: Params, state: Params) -> Tensor:
        """How far every prototype has moved from its prior."""
        return (prototypes(meta, state)[0] - meta["prior.prototype"]).flatten(1)

    return Learner(("sum", "count"), (), 0, head, init, begin, steps, num_steps, update, predict, meta_loss, embed)
