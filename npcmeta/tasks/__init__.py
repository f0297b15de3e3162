"""Task families: distributions over characters, one file each, one registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from npcmeta.types import TaskSplits


class Family(NamedTuple):
    """A family, and how it is trained when nobody says otherwise."""

    splits: Callable[[Path | None, int], TaskSplits]  # (data, split) -> train, validation, test
    needs_data: bool
    learner: str  # the learner to use by default
    demonstration: int  # examples of one demonstration
    outer: Mapping[str, Any]  # defaults of OuterSettings
    validation_shots: tuple[int, ...]
    learner_settings: Mapping[str, Mapping[str, Any]] = {}  # learner -> defaults that suit this family
    unit: float = 1.0  # what a continuous action of 1 stands for in the family's own units, those of reported errors


def _sinusoid(data: Path | None, split: int) -> TaskSplits:
    from npcmeta.tasks import sinusoid

    return sinusoid.splits(split)


def _character(data: Path | None, split: int) -> TaskSplits:
    from npcmeta.tasks import character

    return character.splits(split)


def _arena(data: Path | None, split: int) -> TaskSplits:
    from npcmeta.tasks.arena import family

    return family.splits(split)


def _recorded(data: Path | None, split: int) -> TaskSplits:
    from npcmeta.tasks import recorded

    assert data is not None
    return recorded.splits(data, split)


def _overcooked(data: Path | None, split: int) -> TaskSplits:
    from npcmeta.tasks import overcooked

    return overcooked.splits(split)


_SMOOTH: dict[str, Any] = {"hidden": [40, 40], "activation": "tanh"}
_WAVES = _SMOOTH | {"inner_rate": 0.05}
_LATENT_WAVES = {"hidden": [64, 64], "encoder": [64, 64], "code": 64, "latent": 8, "dropout": 0.0}
_SLOW_TO_MOVE = {"dropout": 0.3, "prior_examples": 100.0, "inner_rate": 0.3}
PEOPLE: Mapping[str, Mapping[str, Any]] = {
    "bayes": {"dropout": 0.3, "feature_dropout": 0.3, "members": 3},
    "finetune": {"dropout": 0.3},
    "cnp": {"dropout": 0.3, "prior_examples": 30.0},
    "latent_np": {"dropout": 0.3, "prior_examples": 30.0},
    "protonet": {"dropout": 0.3, "prior_examples": 100.0},
    "matching": {"dropout": 0.3, "prior_examples": 10.0},
    "maml": _SLOW_TO_MOVE,
    "fomaml": _SLOW_TO_MOVE,
    "platipus": _SLOW_TO_MOVE,
    "anil": _SLOW_TO_MOVE,
    "meta_sgd": _SLOW_TO_MOVE,
    "reptile": {"prior_examples": 100.0, "unadapted_share": 0.3},
    "cavia": {"dropout": 0.3, "prior_examples": 100.0, "inner_rate": 3.0},
}
"""Suits what few people did for a few minutes each: it is noisy, and a handful of examples says little of a person."""

FAMILIES: dict[str, Family] = {
    "sinusoid": Family(
        _sinusoid,
        False,
        "maml",
        1,
        {"meta_steps": 5000, "meta_batch": 25, "weight_decay": 0.0, "rate": 3e-3, "clip": 10.0}
        | {"min_shots": 10, "max_shots": 10, "query_shots": 10},
        (5, 10),
        {"finetune": {"dropout": 0.0}, "cnp": {"dropout": 0.0}, "maml": _WAVES, "fomaml": _WAVES}
        | {"latent_np": _LATENT_WAVES, "platipus": _WAVES, "abml": _SMOOTH}
        | {"anil": _WAVES, "meta_sgd": _WAVES, "reptile": _WAVES, "cavia": _SMOOTH},
        unit=5.0,
    ),
    "arena": Family(
        _arena,
        False,
        "bayes",
        50,
        {"meta_steps": 16000, "meta_batch": 16, "min_shots": 15, "max_shots": 200, "query_shots": 150}
        | {"optimizer": "muon", "rate": 4e-3},
        (50, 500),
        {
            "finetune": {"dropout": 0.0},
            "cnp": {"dropout": 0.0, "unadapted_share": 0.5},
            "bayes": {"dropout": 0.0, "context": 32, "code": 96, "encoder": [96], "unadapted_share": 0.35}
            | {"inner_steps": 3, "tempering": 0.33},
        },
    ),
    "character": Family(
        _character,
        False,
        "cavia",
        2,
        {"meta_steps": 3000, "meta_batch": 16, "min_shots": 1, "max_shots": 20, "query_shots": 40}
        | {"optimizer": "muon", "rate": 5e-3},
        (1, 5, 20),
        {"bayes": {"context": 32, "inner_steps": 3, "tempering": 0.33, "unadapted_share": 0.3}},
    ),
    "recorded": Family(
        _recorded,
        True,
        "bayes",
        50,
        {"meta_steps": 1500, "meta_batch": 16, "min_shots": 4, "max_shots": 200, "query_shots": 100}
        | {"weight_decay": 0.5, "optimizer": "muon", "rate": 3e-3},
        (20, 100, 500),
        PEOPLE,
    ),
    "overcooked": Family(
        _overcooked,
        False,
        "bayes",
        50,
        {"meta_steps": 1400, "meta_batch": 16, "min_shots": 4, "max_shots": 500, "query_shots": 150}
        | {"weight_decay": 0.5, "optimizer": "muon", "rate": 3e-3},
        (20, 100, 500),
        PEOPLE,
    ),
}


def load_splits(name: str, data: Path | None, split: int) -> TaskSplits:
    """Builds the training, validation and test tasks of a family.

    Raises:
        ValueError: If there is no such family, or it needs recorded data and none was given.
    """
    return check_data(name, data).splits(data, split)


def check_data(name: str, data: Path | None) -> Family:
    """The family called `name`, if it goes with `data`; raises ValueError as `load_splits` does."""
    family = find(name)
    if family.needs_data and data is None:
        raise ValueError(f'the family "{name}" is made of recordings: say where they are with --data PATH')
    if data is not None and not family.needs_data:
        raise ValueError(f'the family "{name}" brings its own tasks: leave out --data, or use --family recorded')
    return family


def find(name: str) -> Family:
    """The family called `name`.

    Raises:
        ValueError: If there is no such family; the message lists those there are.
    """
    if name not in FAMILIES:
        raise ValueError(f'there is no task family "{name}"; expected one of: {", ".join(FAMILIES)}')
    return FAMILIES[name]
