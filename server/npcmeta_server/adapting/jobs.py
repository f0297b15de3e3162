"""What the acting process asks of the adaptation process, and what comes back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from npcmeta_server.clips import Clip


class AdaptJob(NamedTuple):
    """Adapt an NPC, from its unadapted state, to these examples."""

    archetype: str  # its revision
    npc: str
    seed: int
    clip: Clip
    held_out: Clip | None = None  # examples to judge the result on, which it does not see


class ExportJob(NamedTuple):
    """Fold an NPC into an ONNX file of its own."""

    archetype: str  # its revision
    npc: str
    data: bytes  # the NPC as the content of a file


class Progressed(NamedTuple):
    """One step of an inner loop."""

    step: int  # 0: before the first one
    steps: int
    examples: int
    support_nll: float  # nats per decision
    known: float = 0.0  # share of the doubt about the character that is gone, 0 to 1; 0 if the learner cannot say
    more_examples: int = 0  # about how many would bring `known` to its next tenth


class Adapted(NamedTuple):
    """The end of an AdaptJob."""

    data: bytes  # the NPC's acting part as the content of a file
    state: dict[str, np.ndarray]  # the same, as the bank takes it
    examples: int
    support_nll: float  # nats per decision
    held_out_nll: float = 0.0  # the same of the examples that were held out, if there were some


class Exported(NamedTuple):
    """The end of an ExportJob."""

    model: bytes


class Failed(NamedTuple):
    """The end of a job that could not be done."""

    reason: str  # of the table of errors
    message: str


class Dropped(NamedTuple):
    """The end of a job that nobody wanted any more."""


Job = AdaptJob | ExportJob
Answer = Progressed | Adapted | Exported | Failed | Dropped


class Numbered(NamedTuple):
    """A job, and the number under which its answers go back."""

    number: int
    job: Job


class Cancel(NamedTuple):
    """Nobody wants the job of this number any more."""

    number: int


class Load(NamedTuple):
    """A further archetype revision, for jobs to come."""

    revision: str
    data: bytes  # its file


Order = Numbered | Cancel | Load
"""What goes into the adaptation process."""
