"""ANIL: MAML on the last layer, whose trunk all characters share."""

import dataclasses

import torch
from torch import Generator

from npcmeta import networks
from npcmeta.learners.maml import MamlSettings
from npcmeta.types import Learner, Params
from tests import toys


def small(hidden: tuple[int, ...]) -> tuple[Learner, Params]:
    settings = dataclasses.replace(toys.small_settings("anil"), hidden=hidden)  # type: ignore[type-var]
    learner = settings.build(toys.spec("mixed"))
    return learner, toys.double_params(learner.init(Generator().manual_seed(0)))


def test_the_state_is_the_last_layer() -> None:
    learner, meta = small((12, 9))
    state = learner.begin(meta, 4, torch.zeros(4, 0))
    size = learner.head.num_params
    assert {key: tuple(value.shape) for key, value in state.items()} == {"2.weight": (4, 9, size), "2.bias": (4, size)}


def test_adapting_is_maml_on_the_features_of_the_trunk() -> None:
    learner, meta = small((12, 9))
    task = toys.double_task(toys.draw_task("mixed", 4, 5))
    features, trunk = [], {key: value for key, value in meta.items() if not key.startswith("2.")}
    for part in task:
        seen, _ = networks.forward(trunk, part.observation, "relu")
        features.append(torch.relu(seen))
    spec = toys.spec("mixed")._replace(observation_size=9)
    linear = dataclasses.replace(MamlSettings(), hidden=()).build(spec)
    shared = {"0.weight": meta["2.weight"], "0.bias": meta["2.bias"]}
    expected = linear.update(
        shared, linear.begin(shared, 4, torch.zeros(4, 0)), task.support._replace(observation=features[0])
    )
    reached = learner.update(meta, learner.begin(meta, 4, torch.zeros(4, 0)), task.support)
    toys.assert_close({"0.weight": reached["2.weight"], "0.bias": reached["2.bias"]}, expected, 1e-12)
    torch.testing.assert_close(
        learner.predict(meta, reached, task.query.observation),
        linear.predict(shared, expected, features[1]),
        rtol=1e-12, atol=1e-12,
    )  # fmt: skip


def test_an_unadapted_character_is_at_the_origin() -> None:
    learner, meta = small((12,))
    assert not learner.embed(meta, learner.begin(meta, 4, torch.zeros(4, 0))).any()
