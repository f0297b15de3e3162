"""Plays adapted characters, baselines, ceilings and experts in the arena, side by side in worker processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
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
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1), mp_context=context, initializer=_one_thread) as pool:
        # The longest first, so that both workers end at about the same time.
        ceilings = [pool.submit(_play_ceiling, baseline, personality[half]) for half in halves]
        expert = pool.submit(_play_expert, personality, tuple(watch))
        plays = {
            name: pool.submit(_play, entry.archetype, {k: v.numpy() for k, v in entry.state.items()}, tuple(watch))
            for name, entry in contestants.items()
        }
        jobs: list[Future[Any]] = [*ceilings, expert, *plays.values()]
        for done, _ in enumerate(as_completed(jobs), 1):
            progress(done / len(jobs))
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


def _one_thread() -> None:
    torch.set_num_threads(1)


def _play(archetype: Path, state: dict[str, np.ndarray], watch: tuple[int, ...]) -> Played:
    loaded = load_archetype(archetype)
    tensors = {key: torch.from_numpy(value) for key, value in state.items()}
    policy = imitation.as_policy(build_learner(loaded), loaded.meta, tensors)
    return play.play(policy, len(next(iter(state.values()))), ticks=TICKS, watch=watch)


def _play_expert(personality: np.ndarray, watch: tuple[int, ...]) -> tuple[Reference, dict[int, Trajectory]]:
    reference = play.expert_reference(personality, ticks=TICKS)
    watched = play.play(play.expert_policy(personality), len(personality), ticks=TICKS, watch=watch)
    return reference, watched.trajectories


def _play_ceiling(baseline: Path, personality: np.ndarray) -> Played:
    loaded = load_archetype(baseline)
    state = imitation.ceiling_state(loaded, personality)
    policy = imitation.as_policy(build_learner(loaded), loaded.meta, state)
    return play.play(policy, len(personality), ticks=TICKS)
