"""`bayes`, and networks beside it that adapt all of their weights: heavier, and better with hundreds of examples.

A posterior over a few hundred numbers is sure of itself early; a network that was trained to be tuned (`fomaml`) says
more of a character once it has seen much of it. Their mean is better than either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from npcmeta import networks
from npcmeta.learners.maml import FomamlSettings
from npcmeta.types import BehaviorSpec, Examples, Learner, Params, Task

if TYPE_CHECKING:
    from npcmeta.learners.bayes import BayesSettings

INNER_RATE, PRIOR_EXAMPLES = 0.3, 100.0
"""Of the tuned networks: steps that grow with the number of examples suit people's play."""
SHARE = 0.5
"""How much the tuned networks have to say, once there are many examples."""


def build(settings: BayesSettings, light: Learner, spec: BehaviorSpec) -> Learner:
    """Acting state: that of `light`, the tuned networks' weights, and their share [T, 1]; memory: that of `light`."""
    tuner = FomamlSettings(
        hidden=settings.hidden, activation=settings.activation, dropout=settings.dropout, inner_rate=INNER_RATE,
        prior_examples=PRIOR_EXAMPLES,
    ).build(spec)  # fmt: skip
    prefixes = [f"tuned.{index}." for index in range(settings.tuned)]
    acting = (*light.acting, *(prefix + key for prefix in prefixes for key in tuner.acting), "share")

    def own(params: Params) -> list[Params]:
        return [networks.under_prefix(prefix, params) for prefix in prefixes]

    def joined(of_light: Params, of_tuned: list[Params]) -> Params:
        parts = [networks.with_prefix(prefix, each) for prefix, each in zip(prefixes, of_tuned, strict=True)]
        return {key: value for part in (of_light, *parts) for key, value in part.items()}

    def with_share(state: Params) -> Params:
        count = state["count"]
        return state | {"share": SHARE * count / (count + settings.prior_examples).clamp_min(1e-12)}

    def init(generator: Generator) -> Params:
        return joined(light.init(generator), [tuner.init(generator) for _ in prefixes])

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        begun = [tuner.begin(each, num_tasks, noise) for each in own(meta)]
        return with_share(joined(light.begin(meta, num_tasks, noise), begun))

    def update(meta: Params, state: Params, examples: Examples) -> Params:
        tuned = [tuner.update(*each, examples) for each in zip(own(meta), own(state), strict=True)]
        return with_share(joined(light.update(meta, of_light(state), examples), tuned))

    def of_light(state: Params) -> Params:
        return {key: state[key] for key in (*light.acting, *light.memory)}

    def steps(meta: Params, state: Params, examples: Examples) -> Iterator[Params]:
        """The posterior is there with the first step of the tuned networks."""
        paths = [tuner.steps(*each, examples) for each in zip(own(meta), own(state), strict=True)]
        yield joined(state, [next(path) for path in paths])
        reached = with_share(light.update(meta, of_light(state), examples))
        for tuned in zip(*paths, strict=True):
            yield joined(reached, list(tuned))

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        share = state["share"].unsqueeze(-1)
        tuned = [tuner.predict(*each, observation) for each in zip(own(meta), own(state), strict=True)]
        return (1 - share) * light.predict(meta, state, observation) + share * torch.stack(tuned).mean(0)

    def meta_loss(meta: Params, task: Task, generator: Generator) -> tuple[Tensor, dict[str, float]]:
        loss, metrics = light.meta_loss(meta, task, generator)
        tuned = [tuner.meta_loss(each, task, generator) for each in own(meta)]
        apart = {f"tuned_{key}": value for _, each in tuned[:1] for key, value in each.items()}
        return loss + sum((each for each, _ in tuned), torch.zeros(())), metrics | apart

    def embed(meta: Params, state: Params) -> Tensor:
        return light.embed(meta, state)

    return light._replace(
        acting=acting, init=init, begin=begin, steps=steps, num_steps=tuner.num_steps, update=update, predict=predict,
        meta_loss=meta_loss, embed=embed,
    )  # fmt: skip
