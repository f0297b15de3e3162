"""The cases of the contract: every learner with every kind of actions, meta-trained a little, once."""

import functools
from typing import NamedTuple

import torch
from torch import Generator

from npcmeta.archetype import draw_state_noise
from npcmeta.learners import Settings
from npcmeta.types import Learner, Params
from tests import toys

META_STEPS = 60


class Case(NamedTuple):
    """One learner on one kind of actions."""

    name: str
    kind: str
    settings: Settings
    learner: Learner
    meta: Params  # freshly drawn
    trained: Params  # after a few dozen meta-steps on the toy family
    losses: tuple[float, ...]  # the meta-losses on the way there

    def begin(self, num_tasks: int, meta: Params | None = None) -> Params:
        """A fresh state of the trained meta-parameters, or of others."""
        meta = self.trained if meta is None else meta
        noise = draw_state_noise(self.learner, range(num_tasks)).to(next(iter(meta.values())).dtype)
        return self.learner.begin(meta, num_tasks, noise)


@functools.cache
def build_case(name: str, kind: str) -> Case:
    settings = toys.small_settings(name, activation="tanh")
    learner = settings.build(toys.spec(kind))
    meta = learner.init(Generator().manual_seed(0))
    trained, losses = meta_train(learner, meta, kind)
    return Case(name, kind, settings, learner, meta, trained, losses)


def meta_train(learner: Learner, meta: Params, kind: str) -> tuple[Params, tuple[float, ...]]:
    generator, family, losses = Generator().manual_seed(1), toys.ToyFamily(kind), []
    weights = {key: value.clone().requires_grad_() for key, value in meta.items()}
    optimizer = torch.optim.Adam(list(weights.values()), lr=1e-2)
    for step in range(META_STEPS):
        task = family.sample(generator, 8, shots=(1, 5, 20, 100)[step % 4], query_shots=20)
        loss, _ = learner.meta_loss(weights, task, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return {key: value.detach() for key, value in weights.items()}, tuple(losses)
