"""The adaptation process: torch runs here. Jobs for the same archetype that wait together are adapted together."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Protocol

import torch
from torch import Tensor

from npcmeta import posterior
from npcmeta.archetype import (
    Archetype,
    Npc,
    archetype_from_bytes,
    build_learner,
    draw_state_noise,
    npc_from_bytes,
    npc_to_bytes,
)
from npcmeta.evaluate import support_nll
from npcmeta.types import Action, Examples, Learner, Params
from npcmeta_export.ort import ORT
from npcmeta_export.template import Template, fill, make_template
from npcmeta_server import logs, signals
from npcmeta_server.adapting.jobs import (
    Adapted,
    AdaptJob,
    Answer,
    Dropped,
    Exported,
    ExportJob,
    Failed,
    Numbered,
    Progressed,
)
from npcmeta_server.adapting.line import Line
from npcmeta_server.adapting.priority import Priority, stand_back
from npcmeta_server.clips import Clip, to_examples

log = logging.getLogger(__name__)

MAX_TASKS = 32
MAX_PADDED_EXAMPLES = 20_000
"""Bounds of one batch; a single job may have as many examples as an NPC may."""
PROGRESS_SECONDS = 0.05
"""Between two words of progress: nobody sees more, and to say a step takes longer than to make one."""

RETIRED = Failed(
    "ARCHETYPE_NOT_FOUND",
    "the revision of the archetype was retired meanwhile, nothing was changed; adapt the NPC again",
)


class Listener(Protocol):
    """Who is told what becomes of jobs."""

    def tell(self, number: int, answer: Answer) -> None:
        """An answer to the job of a number."""

    def wanted(self, numbers: Iterable[int]) -> bool:
        """Whether anybody still waits for one of these jobs."""


def work(connection: Connection, files: Mapping[str, bytes], priority: Priority) -> None:
    """Body of the process: answers jobs until the other side is gone.

    Args:
        connection: Orders come in, lists of `(number, answer)` go out.
        files: The files of archetype revisions, by revision.
        priority: How far it stands back behind frames.
    """
    signals.leave_to_the_server()
    stand_back(priority)
    torch.set_num_threads(1)
    logs.configure_as_told()
    archetypes = {name: archetype_from_bytes(data, source=name) for name, data in files.items()}
    templates: dict[str, Template] = {}
    line = Line(connection)
    try:
        while True:
            line.wait()
            while line.loads:
                revision, data = line.loads.pop()
                archetypes[revision] = archetype_from_bytes(data, source=revision)
            _answer(archetypes, templates, take_batch(line.waiting), line)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def take_batch(waiting: list[Numbered]) -> list[Numbered]:
    """Takes the first job out, and if it is an adaptation, others of the same archetype, in order of arrival."""
    batch = [waiting.pop(0)]
    if isinstance(batch[0].job, AdaptJob):
        for entry in list(waiting):
            if _fits(batch, entry):
                batch.append(entry)
                waiting.remove(entry)
    return batch


def adapt(archetype: Archetype, jobs: Mapping[int, AdaptJob], listener: Listener) -> None:
    """Adapts some NPCs, by the number of their jobs, together; tells of their steps and their ends.

    Of the first step and the last of each NPC, and of others as often as `PROGRESS_SECONDS` says.
    """
    learner, examples = build_learner(archetype), pad([job.clip for job in jobs.values()])
    noise = draw_state_noise(learner, [job.seed for job in jobs.values()])
    steps = learner.num_steps(examples.weight.sum(-1)).tolist()
    told = -math.inf
    with torch.no_grad():
        begun = learner.begin(archetype.meta, len(jobs), noise)
        for step, reached in enumerate(learner.steps(archetype.meta, begun, examples)):
            state, due = reached, time.monotonic() - told >= PROGRESS_SECONDS
            if due or step in steps:
                told, nll = time.monotonic(), support_nll(learner, archetype.meta, reached, examples)
                for row, (number, job) in enumerate(jobs.items()):
                    if step == steps[row] or (due and step < steps[row]):
                        doubt = _doubt(reached, row, job.clip.examples)
                        progressed = Progressed(step, steps[row], job.clip.examples, float(nll[row]), *doubt)
                        listener.tell(number, progressed)
            if step < max(steps) and not listener.wanted(jobs):
                for number in jobs:
                    listener.tell(number, Dropped())
                return
    for row, (number, job) in enumerate(jobs.items()):
        listener.tell(number, _adapted(archetype, learner, job, row, state, nll))


def pad(clips: Sequence[Clip]) -> Examples:
    """Clips of different lengths as one support set [T, S, ...]; what is missing has weight 0."""
    longest = max(clip.examples for clip in clips)
    parts = [to_examples(clip) for clip in clips]

    def column(pick: Callable[[Examples], Tensor]) -> Tensor:
        values = [pick(part)[0] for part in parts]
        padded = values[0].new_zeros(len(values), longest, *values[0].shape[1:])
        for row, value in enumerate(values):
            padded[row, : len(value)] = value
        return padded

    mask = column(lambda part: part.action_mask)
    weight = column(lambda part: part.weight)
    # A padded row decides for choice 0, which therefore has to be allowed.
    mask |= torch.arange(longest).unsqueeze(-1) >= torch.tensor([[[clip.examples]] for clip in clips])
    action = Action(column(lambda part: part.action.continuous), column(lambda part: part.action.discrete))
    return Examples(column(lambda part: part.observation), action, mask, weight)


def _doubt(state: Params, row: int, examples: int) -> tuple[float, int]:
    """How well an NPC is known, and how many more examples would help; zeros if its learner cannot say."""
    known = float(state["known"][row]) if "known" in state else 0.0
    return known, posterior.examples_until_next_tenth(known, examples)[1] if known > 0 else 0


def _fits(batch: Sequence[Numbered], entry: Numbered) -> bool:
    job = entry.job
    if not isinstance(job, AdaptJob) or job.archetype != batch[0].job.archetype or len(batch) >= MAX_TASKS:
        return False
    longest = max(each.clip.examples for each in (job, *(entry.job for entry in batch)) if isinstance(each, AdaptJob))
    return longest * (len(batch) + 1) <= MAX_PADDED_EXAMPLES


def _answer(
    archetypes: Mapping[str, Archetype],
    templates: dict[str, Template],
    batch: Sequence[Numbered],
    listener: Listener,
) -> None:
    archetype = archetypes.get(batch[0].job.archetype)
    if archetype is None:
        for entry in batch:
            listener.tell(entry.number, RETIRED)
        return
    try:
        if isinstance(batch[0].job, ExportJob):
            listener.tell(batch[0].number, _export(archetype, templates, batch[0].job))
        else:
            adapt(archetype, {entry.number: entry.job for entry in batch if isinstance(entry.job, AdaptJob)}, listener)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except Exception:  # the process has to outlive whatever a job does
        if len(batch) > 1:  # only the job whose fault it was may fail
            for entry in batch:
                _answer(archetypes, templates, [entry], listener)
            return
        log.exception("a job for npcs/%s failed", batch[0].job.npc)
        listener.tell(batch[0].number, Failed("INTERNAL", "the adaptation process failed; the server's log says more"))


def _export(archetype: Archetype, templates: dict[str, Template], job: ExportJob) -> Exported:
    npc = npc_from_bytes(job.data, archetype, source=f"npcs/{job.npc}")
    if job.archetype not in templates:
        templates[job.archetype] = make_template(archetype, ORT)
    return Exported(fill(templates[job.archetype], npc))


def _adapted(
    archetype: Archetype, learner: Learner, job: AdaptJob, row: int, state: Params, nll: Tensor
) -> Adapted | Failed:
    """What is kept of an adapted NPC: what acts. An NPC is always adapted from its demonstrations, never refined."""
    own = {key: state[key][row : row + 1].contiguous() for key in learner.acting}
    if not all(bool(torch.isfinite(value[row]).all()) for value in (*state.values(), nll)):
        return Failed(
            "ADAPTATION_DIVERGED",
            f"adapting npcs/{job.npc} to {job.clip.examples} examples left the finite numbers, nothing was changed; "
            "check the observations for huge values, or train the archetype with a smaller inner_rate",
        )
    npc = Npc(job.npc, archetype.name, archetype.revision, job.clip.examples, job.seed, own)
    arrays = {key: value.numpy() for key, value in own.items()}
    held_out = 0.0
    if job.held_out is not None:
        reached = {key: value[row : row + 1] for key, value in state.items()}
        held_out = float(support_nll(learner, archetype.meta, reached, to_examples(job.held_out)))
    return Adapted(npc_to_bytes(npc), arrays, job.clip.examples, float(nll[row]), held_out)
