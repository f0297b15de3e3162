"""The contenders of the Omniglot table, the episodes that they are tested in, and how each is trained for them."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from npcmeta.learners import Settings
from npcmeta.learners.cavia import CaviaSettings
from npcmeta.learners.maml import MamlSettings
from npcmeta.learners.matching import MatchingSettings
from npcmeta.learners.protonet import ProtonetSettings
from npcmeta.learners.reptile import ReptileSettings
from npcmeta.outer_loop import OuterSettings
from npcmeta.tasks import omniglot


class Cell(NamedTuple):
    """One number of the table."""

    ways: int
    shots: int  # per way
    within: bool  # whether the characters of an episode are of one alphabet

    @property
    def title(self) -> str:
        """As the table has it."""
        return f"{self.ways}-way {self.shots}-shot {'within' if self.within else 'across'}"


CELLS = [Cell(ways, shots, within) for ways in (5, 20) for within in (False, True) for shots in (1, 5)]
LEAST_WAYS, MOST_WAYS = min(cell.ways for cell in CELLS), max(cell.ways for cell in CELLS)


class Contender(NamedTuple):
    """A learner in the table, and how it is trained."""

    settings: Settings
    outer: OuterSettings
    ways: int = MOST_WAYS  # in a training task
    within: float = 0.5  # share of training tasks within an alphabet
    apart: bool = False  # trained anew for each number of ways, which a network that adapts has as many outputs for
    drawn_per_way: int = 0  # examples in one of Reptile's minibatches, over the number of ways


REMEMBERING = OuterSettings(
    meta_steps=4000, meta_batch=1, rate=1e-3, weight_decay=0.0, min_shots=1, max_shots=1, query_shots=3, validations=1
)
ADAPTING = OuterSettings(
    meta_steps=800, meta_batch=8, rate=3e-3, weight_decay=0.0, min_shots=1, max_shots=5, query_shots=3, validations=1
)
CONTENDERS: dict[str, Contender] = {
    "protonet": Contender(ProtonetSettings(image=omniglot.IMAGE, prior_examples=0.1, unadapted_share=0.0), REMEMBERING),
    "matching": Contender(
        MatchingSettings(image=omniglot.IMAGE, embedding=64, prior_examples=0.1, unadapted_share=0.0), REMEMBERING
    ),
    "maml": Contender(
        MamlSettings(image=omniglot.IMAGE, inner_rate=0.1, inner_steps=3, unadapted_share=0.0), ADAPTING, apart=True
    ),
    "reptile": Contender(
        ReptileSettings(image=omniglot.IMAGE, inner_rate=0.1, training_steps=6, inner_steps=5, inner_clip=0.0),
        dataclasses.replace(ADAPTING, meta_batch=4, query_shots=9),
        apart=True,
        drawn_per_way=2,
    ),
    "cavia": Contender(
        CaviaSettings(
            image=omniglot.IMAGE,
            filters=64,
            context=100,
            inner_rate=10.0,
            inner_steps=2,
            inner_clip=0.0,
            unadapted_share=0.0,
        ),
        ADAPTING,
        apart=True,
    ),
}
"""How each is trained. It was chosen on an alphabet of the training set (Balinese) that was held out for it."""


class Plan(NamedTuple):
    """One training of a contender; several cells may share it."""

    name: str
    contender: Contender
    ways: int
    choices: int


def plan(name: str, contender: Contender, cell: Cell) -> Plan:
    """The training that a cell's number is of."""
    if not contender.apart:
        return Plan(name, contender, contender.ways, max(contender.ways, MOST_WAYS))
    # As many characters in a step, whatever the number of ways.
    tasks = max(1, contender.outer.meta_batch * LEAST_WAYS // cell.ways)
    contender = contender._replace(outer=dataclasses.replace(contender.outer, meta_batch=tasks))
    if isinstance(contender.settings, ReptileSettings):
        minibatch = contender.drawn_per_way * cell.ways
        contender = contender._replace(settings=dataclasses.replace(contender.settings, minibatch=minibatch))
    return Plan(f"{name}-{cell.ways}-way", contender, cell.ways, cell.ways)
