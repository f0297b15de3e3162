"""Learners: one file for each idea, one registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from npcmeta.learners import (
    abml,
    anil,
    bayes,
    cavia,
    cnp,
    finetune,
    latent_np,
    maml,
    matching,
    meta_sgd,
    platipus,
    protonet,
    reptile,
)
from npcmeta.learners.choices import Choice
from npcmeta.types import BehaviorSpec, Learner


class Settings(Protocol):
    """A frozen dataclass of settings that knows how to build its learner."""

    def build(self, spec: BehaviorSpec) -> Learner:
        """Builds the learner for characters of this spec."""
        ...

    def choices(self, spec: BehaviorSpec) -> Sequence[Choice]:
        """Settings that training does not fix, to be chosen on validation tasks, one choice after the other."""
        ...


LEARNERS: dict[str, type[Settings]] = {
    "bayes": bayes.BayesSettings,
    "finetune": finetune.FinetuneSettings,
    "maml": maml.MamlSettings,
    "fomaml": maml.FomamlSettings,
    "anil": anil.AnilSettings,
    "meta_sgd": meta_sgd.MetaSgdSettings,
    "reptile": reptile.ReptileSettings,
    "cavia": cavia.CaviaSettings,
    "protonet": protonet.ProtonetSettings,
    "matching": matching.MatchingSettings,
    "cnp": cnp.CnpSettings,
    "latent_np": latent_np.LatentNpSettings,
    "platipus": platipus.PlatipusSettings,
    "abml": abml.AbmlSettings,
}


def settings_type(name: str) -> type[Settings]:
    """The settings dataclass of the learner called `name`.

    Raises:
        ValueError: If there is no such learner; the message lists those there are.
    """
    if name not in LEARNERS:
        raise ValueError(f'there is no learner "{name}"; expected one of: {", ".join(LEARNERS)}')
    return LEARNERS[name]
