"""Plays adapted characters, baselines, ceilings and experts in the arena, side by side in worker processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from npcmeta.archetype import build_learner, load_archetype
from npcmeta.tasks.arena import imitation, play, statistics
from npcmeta.tasks.arena.play import Played, Reference, Trajectory
from npcmeta.types import Params

TICKS = 240
"""Length of every game: 24 seconds in each of 64 arenas."""
CEILING_SHARE = 0.75
"""How much of the time the imitation ceilings take: they are trained before they are played."""
LOOK_SECONDS = 0.2
_trained: MutableSequence[float] = []
"""In a worker process: how far each ceiling is."""


class Contestant(NamedTuple):
    """One way of playing all the characters."""

    archetype: Path
    state: Params  # a row for each character


class ClosedLoop(NamedTuple):
    """What was measured: everything by contestant."""

    gap_closed: dict[str, float]
    gap_closed_each: dict[str, list[float | None]]
    behaviour: dict[str, np.ndarray]  # [T, quantities], in standard deviations between characters from their mean
    trajectories: dict[str, dict[int, Trajectory]]  # by contestant, and "expert"; by watched row


def measure(
    personality: np.ndarray,
    contestants: Mapping[str, Contestant],
    baseline: Path,
    watch: Sequence[int],
    progress: Callable[[float], None],
) -> ClosedLoop:
    """Plays every contestant, the experts, and the imitation ceiling (as "ceiling").

    Args:
        personality: The characters, [T, 12].
        contestants: Ways of playing; "average" must be among them.
        baseline: The baseline's file, from which ceilings are trained.
        watch: Rows (character * 64 + arena) to draw; of all contestants.
        progress: Told how much is done, 0 to 1.
    """
    halves = [half for half in np.array_split(np.arange(len(personality)), 2) if len(half)]
    context = multiprocessing.get_context("spawn")
    trained: MutableSequence[float] = context.Array("d", len(halves), lock=False)
    workers = min(2, os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(trained,)) as pool:
        # The longest first, so that both workers end at about the same time.
        ceilings = [pool.submit(_play_ceiling, baseline, personality[half], i) for i, half in enumerate(halves)]
        expert = pool.submit(_play_expert, personality, tuple(watch))
        plays = {
            name: pool.submit(_play, entry.archetype, {k: v.numpy() for k, v in entry.state.items()}, tuple(watch))
            for name, entry in contestants.items()
        }
        _watch(ceilings, [expert, *plays.values()], trained, progress)
        reference, watched = expert.result()
        played = {name: job.result() for name, job in plays.items()}
        together = np.concatenate([job.result().quantities for job in ceilings])
    distances = {name: play.behaviour_distance(result, reference) for name, result in played.items()}
    distances["ceiling"] = play.behaviour_distance(Played(together, np.zeros(len(together)), {}), reference)
    centre = reference.quantities.mean(0)
    behaviour = {name: (result.quantities - centre) / reference.spread for name, result in played.items()}
    return ClosedLoop(
        {name: statistics.gap_closed(d, distances["average"]) for name, d in distances.items()},
        {name: statistics.gap_closed_each(d, distances["average"]) for name, d in distances.items()},
        behaviour | {"expert": (reference.quantities - centre) / reference.spread},
        {name: result.trajectories for name, result in played.items()} | {"expert": watched},
    )


def _watch(
    ceilings: Sequence[Future[Played]],
    others: Sequence[Future[Any]],
    trained: Sequence[float],
    progress: Callable[[float], None],
) -> None:
    """Tells how far it is until everything has ended."""
    waiting: set[Future[Any]] = {*ceilings, *others}
    while waiting:
        waiting = wait(waiting, LOOK_SECONDS, FIRST_COMPLETED).not_done
        own = sum(1.0 if job.done() else part for job, part in zip(ceilings, trained, strict=True)) / len(ceilings)
        rest = sum(job.done() for job in others) / len(others)
        progress(CEILING_SHARE * own + (1 - CEILING_SHARE) * rest)


def least_alike(personalities: np.ndarray) -> list[int]:
    """The two characters [T, traits] that are furthest apart, whose pictures show most."""
    apart = np.abs(personalities[:, None] - personalities[None]).sum(-1)
    return sorted(int(i) for i in np.unravel_index(apart.argmax(), apart.shape))


def _begin(trained: MutableSequence[float]) -> None:
    """Sets up a worker process; it tells in `trained` how far each ceiling is, 0 to 1."""
    global _trained
    torch.set_num_threads(1)
    _trained = trained


def _play(archetype: Path, state: dict[str, np.ndarray], watch: tuple[int, ...]) -> Played:
    loaded = load_archetype(archetype)
    tensors = {key: torch.from_numpy(value) for key, value in state.items()}
    policy = imitation.as_policy(build_learner(loaded), loaded.meta, tensors)
    return play.play(policy, len(next(iter(state.values()))), ticks=TICKS, watch=watch)


def _play_expert(personality: np.ndarray, watch: tuple[int, ...]) -> tuple[Reference, dict[int, Trajectory]]:
    reference = play.expert_reference(personality, ticks=TICKS)
    watched = play.play(play.expert_policy(personality), len(personality), ticks=TICKS, watch=watch)
    return reference, watched.trajectories


def _play_ceiling(baseline: Path, personality: np.ndarray, number: int) -> Played:
    def watch(part: float) -> None:
        _trained[number] = part

    loaded = load_archetype(baseline)
    state = imitation.ceiling_state(loaded, personality, watch=watch)
    policy = imitation.as_policy(build_learner(loaded), loaded.meta, state)
    return play.play(policy, len(personality), ticks=TICKS)
