"""The default learner on recordings: it adapts where people differ, and leaves everybody average where they do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from npcmeta import evaluate, tasks, training
from npcmeta.archetype import Archetype, build_learner
from npcmeta.outer_loop import OuterSettings
from npcmeta.recordings.npz_writer import write_npz
from npcmeta.tasks import recorded
from npcmeta.types import Normaliser
from tests.npcmeta.recordings.plays import play

CHOICES, OBSERVATION, STEPS = 4, 4, 400
OUTER = OuterSettings(meta_steps=200, min_shots=4, max_shots=100, query_shots=50, optimizer="muon", rate=3e-3)


def record(folder: Path, count: int, signal: float, lasting: bool, seed: int) -> Path:
    """People who choose by a taste that is theirs as far as there is `signal`; some change it half-way."""
    random, shared = np.random.default_rng(seed), np.random.default_rng(0).normal(size=(OBSERVATION, CHOICES))
    for person in range(count):
        clip = play(STEPS, seed=1000 * seed + person, branches=(CHOICES,))
        early, late = shared + signal * random.normal(size=(2, *shared.shape))
        tastes = np.where(np.arange(STEPS)[:, None, None] < STEPS // 2, early, early if lasting else late)
        liked = np.einsum("to,toc->tc", clip.observations, tastes)
        chosen = (liked + random.gumbel(size=liked.shape)).argmax(1)[:, None]
        write_npz(folder / f"person-{person}" / "clip.npz", clip._replace(discrete_actions=chosen))
    return folder


@pytest.mark.parametrize(("signal", "lasting"), [(0.0, True), (1.0, True), (1.0, False)])
def test_adapting_to_people_never_seen_helps_or_does_nothing(tmp_path: Path, signal: float, lasting: bool) -> None:
    splits = tasks.load_splits("recorded", record(tmp_path / "known", 12, signal, lasting, seed=1), 0)
    settings = training.choose_settings("recorded", "bayes", {"hidden": [64], "members": 1})
    normaliser = Normaliser((0.0,) * OBSERVATION, (1.0,) * OBSERVATION)
    draft = Archetype("people", "recorded", "bayes", settings, splits.train.spec, normaliser, {}, {}, {})
    archetype = training.train(draft, splits, OUTER, 0, tmp_path / "checkpoint", lambda _: None)
    learner = build_learner(archetype)
    others = recorded.evaluation_family(record(tmp_path / "others", 12, signal, lasting, seed=2), archetype.spec)
    for shots in (5, 20, 50, 200):
        task = others.evaluation(shots).task
        before, after = (
            evaluate.evaluate(learner, archetype.meta, torch.zeros(12, 0), task, adapted=adapted).nll
            for adapted in (False, True)
        )
        gain = before - after
        assert float(gain.mean()) > -0.005
        if signal and lasting and shots >= 50:
            assert float(gain.mean()) > 0.03
            assert float((gain > 0).float().mean()) >= 0.75
