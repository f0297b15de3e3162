"""The picture of `uncertainty.py`: several plausible characters for one support set, learner by learner."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch import Tensor

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes

from benchmarks.patrol import PatrolFamily
from npcmeta import heads
from npcmeta.archetype import draw_state_noise
from npcmeta.evaluate import take_examples, take_steps
from npcmeta.tasks.sinusoid import SCALE, SinusoidFamily
from npcmeta.types import Examples, Learner, Params, TaskFamily

SHOWN_DRAWS = 12
WAVE_SHOTS, GUARD_SHOTS = (2, 5), 3
DRAW, TYPICAL, SEEN = "#4c8bbe", "#b3446c", "#222222"


def draw(ready: Mapping[tuple[str, str], Any], names: list[str], path: Path) -> None:
    """Waves through few and through more points, and guards who were seen in the corridor only.

    Args:
        ready: (family, learner) -> learner and meta-parameters.
        names: The learners, one column each.
        path: Where to write the picture.
    """
    rows = len(WAVE_SHOTS) + 1
    figure, grid = pyplot.subplots(rows, len(names), figsize=(2.7 * len(names), 2.0 * rows), squeeze=False)
    for column, name in enumerate(names):
        for row, shots in enumerate(WAVE_SHOTS):
            waves(grid[row][column], ready["waves", name].learner, ready["waves", name].meta, shots)
        guards(grid[-1][column], ready["guards", name].learner, ready["guards", name].meta)
        grid[0][column].set_title(name, fontsize=10)
    for row, label in enumerate([*(f"a wave, {shots} points" for shots in WAVE_SHOTS), "P(left) - P(right)"]):
        grid[row][0].set_ylabel(label, fontsize=8)
    for row, column in itertools.product(range(rows), range(len(names))):
        last_of_its_kind = row >= rows - 2
        grid[row][column].tick_params(labelsize=6, labelbottom=last_of_its_kind, labelleft=column == 0)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def waves(axes: Axes, learner: Learner, meta: Params, shots: int) -> None:
    """Draws of the wave through the same few points of one."""
    support = chosen(SinusoidFamily(1001, 8), shots, 5)
    x = torch.linspace(-5, 5, 200)
    for noise, style in noises(learner):
        mean = predicted(learner, meta, support, x, noise)[:, 0]
        axes.plot(x, mean * SCALE, **style)
    seen = support.action.continuous[0, :, 0] * SCALE
    axes.scatter(support.observation[0, :, 0], seen, color=SEEN, s=14, zorder=5)
    axes.set_ylim(-6, 6)


def guards(axes: Axes, learner: Learner, meta: Params) -> None:
    """To which side draws of one guard turn, by the distance to the junction."""
    support = chosen(PatrolFamily(1001, 1.0, 8), GUARD_SHOTS, 0)
    x = torch.linspace(0, 1, 200)
    for noise, style in noises(learner):
        params = predicted(learner, meta, support, x, noise)
        (chances,) = heads.probabilities(params, torch.ones(1, 3, dtype=torch.bool), PatrolFamily.spec.action)
        axes.plot(x, chances[:, 0] - chances[:, 2], **style)
    axes.scatter(support.observation[0, :, 0], torch.zeros(GUARD_SHOTS), color=SEEN, s=14, zorder=5)
    axes.set_ylim(-1.1, 1.1)
    axes.set_xlabel("distance to the junction", fontsize=7)


def noises(learner: Learner) -> list[tuple[Tensor, dict[str, Any]]]:
    """The noise of several NPCs and that of the most typical one, each with how to draw it."""
    drawn = draw_state_noise(learner, range(SHOWN_DRAWS)) if learner.noise_size else torch.zeros(0, 0)
    several = [(row.unsqueeze(0), {"color": DRAW, "linewidth": 0.8, "alpha": 0.8}) for row in drawn]
    return [*several, (torch.zeros(1, learner.noise_size), {"color": TYPICAL, "linewidth": 1.5, "linestyle": "--"})]


def predicted(learner: Learner, meta: Params, support: Examples, x: Tensor, noise: Tensor) -> Tensor:
    """Head parameters [n, P] at x [n], after adapting one NPC with this noise."""
    with torch.no_grad():
        state = learner.update(meta, learner.begin(meta, 1, noise), support)
        return learner.predict(meta, state, x.reshape(1, -1, 1))[0]


def chosen(family: TaskFamily, shots: int, row: int) -> Examples:
    """The support set of one test character."""
    return take_steps(take_examples(family.evaluation(10).task.support, slice(row, row + 1)), shots)
