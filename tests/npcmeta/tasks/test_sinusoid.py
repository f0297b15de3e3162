"""Waves: what the papers describe, the same ones for every number of shots, and learnable."""

import math

import pytest
import torch
from torch import Generator

from npcmeta import evaluate, tasks, training
from npcmeta.archetype import Archetype, build_learner
from npcmeta.tasks import sinusoid
from npcmeta.types import NamedTasks, Normaliser, Task
from tests import toys


def draw(seed: int = 0, num_tasks: int = 400, shots: int = 10) -> Task:
    return sinusoid.SinusoidFamily(1).sample(Generator().manual_seed(seed), num_tasks, shots=shots, query_shots=30)


def test_every_point_lies_on_its_wave_as_the_papers_have_it() -> None:
    """y = a sin(x - p) is a line in (sin x, cos x): its coefficients tell amplitude and phase."""
    task = draw()
    x, y = task.query.observation, task.query.action.continuous * sinusoid.SCALE
    basis = torch.cat([torch.sin(x), -torch.cos(x)], -1).double()
    found = torch.linalg.lstsq(basis, y.double()).solution.squeeze(-1)
    torch.testing.assert_close(basis @ found.unsqueeze(-1), y.double(), atol=1e-4, rtol=0.0)
    amplitude, phase = found.norm(dim=-1), torch.atan2(found[:, 1], found[:, 0])
    assert 0.1 <= float(amplitude.min()) < 0.3
    assert 4.8 < float(amplitude.max()) <= 5.0001
    assert float(phase.min()) > -1e-2
    assert float(phase.max()) < math.pi + 1e-2
    assert -5 <= float(x.min()) < -4.9
    assert 4.9 < float(x.max()) <= 5
    support = torch.cat([torch.sin(task.support.observation), -torch.cos(task.support.observation)], -1).double()
    answered = task.support.action.continuous.double() * sinusoid.SCALE
    torch.testing.assert_close(support @ found.unsqueeze(-1), answered, atol=1e-4, rtol=0.0)


def test_answers_are_actions() -> None:
    task = draw()
    for part in task:
        assert part.action.continuous.abs().max() <= 1
        assert part.action.discrete.shape[-1] == 0
        assert part.action_mask.shape[-1] == 0
        assert torch.equal(part.weight, torch.ones(part.weight.shape))


def test_the_unit_of_reported_errors_is_that_of_the_papers() -> None:
    assert tasks.FAMILIES["sinusoid"].unit == sinusoid.SCALE


def test_a_scale_of_one_gives_the_targets_of_the_papers() -> None:
    for named in ("sample", "evaluation"):
        scaled, plain = (sinusoid.SinusoidFamily(1, 20, scale) for scale in (sinusoid.SCALE, 1.0))
        if named == "sample":
            one, other = (
                each.sample(Generator().manual_seed(0), 20, shots=5, query_shots=5) for each in (scaled, plain)
            )
        else:
            one, other = (each.evaluation(5).task for each in (scaled, plain))
        for part, unscaled in zip(one, other, strict=True):
            assert torch.equal(part.observation, unscaled.observation)
            torch.testing.assert_close(part.action.continuous * sinusoid.SCALE, unscaled.action.continuous)


def test_the_same_waves_and_queries_for_every_number_of_shots() -> None:
    family = sinusoid.SinusoidFamily(3, num_evaluation=20)
    none, five, ten, again = (family.evaluation(shots) for shots in (0, 5, 10, 10))
    assert none.ids == five.ids == ten.ids
    assert none.task.support.observation.shape == (20, 0, 1)
    for other in (five, ten, again):
        assert torch.equal(other.task.query.observation, none.task.query.observation)
        assert torch.equal(other.task.query.action.continuous, none.task.query.action.continuous)
    assert torch.equal(ten.task.support.observation[:, :5], five.task.support.observation)
    assert torch.equal(ten.task.support.action.continuous, again.task.support.action.continuous)


def test_more_shots_than_were_drawn_leave_no_task() -> None:
    family = sinusoid.SinusoidFamily(3, num_evaluation=20)
    most, more = family.evaluation(100), family.evaluation(101)
    assert torch.equal(family.evaluation(5).task.query.observation, most.task.query.observation)
    assert most.task.support.weight.shape[1] == 100
    assert more.ids == ()
    assert more.task.support.weight.shape[0] == more.task.query.weight.shape[0] == 0


def test_ids_and_waves_stay_what_they_are() -> None:
    """A change here would silently make every published number incomparable."""
    named = sinusoid.splits(0).test.evaluation(10)
    assert (named.ids[0], named.ids[-1], len(set(named.ids))) == ("wave-3-0000", "wave-3-0599", 600)
    assert named.task.query.action.continuous[0, :3, 0].tolist() == pytest.approx(FIRST_ANSWERS, abs=1e-5)


FIRST_ANSWERS = [0.0181, 0.0231, 0.02146]


def test_parts_and_splits_hold_different_waves() -> None:
    parts = [part for split in (0, 1) for part in sinusoid.splits(split)[:3]]
    amplitudes = [part.evaluation(10).task.query.action.continuous.abs().amax((1, 2)) for part in parts]
    for index, one in enumerate(amplitudes):
        assert all(not torch.isin(one, other).any() for other in amplitudes[index + 1 :])


def trained(learner: str, meta_steps: int) -> Archetype:
    splits = sinusoid.splits(0)
    outer = training.choose_outer("sinusoid", meta_steps=meta_steps, minutes=None)
    settings = training.choose_settings("sinusoid", learner, {})
    draft = Archetype("wave", "sinusoid", learner, settings, splits.train.spec, NORMALISER, {}, {}, {})
    loop = training.OuterLoop(
        training.normalised(settings.build(draft.spec), NORMALISER), splits.train, ignore, outer, 0
    )
    while not loop.finished:
        loop.advance()
    return draft._replace(meta=loop.best)


NORMALISER = Normaliser((0.0,), (2.9,))


def ignore(meta: toys.Params) -> float:
    return 0.0


def mean_error(archetype: Archetype, named: NamedTasks, *, adapted: bool) -> float:
    scores = evaluate.evaluate(
        build_learner(archetype), archetype.meta, torch.zeros(len(named.ids), 0), named.task, adapted=adapted
    )
    return float(scores.error.mean()) * sinusoid.SCALE**2


@pytest.mark.slow
def test_maml_learns_waves_from_ten_points() -> None:
    """Not adapting costs 3 to 4. This is a tenth of the default training."""
    archetype = trained("maml", 500)
    named = sinusoid.splits(0).test.evaluation(10)
    unadapted, adapted = (mean_error(archetype, named, adapted=adapted) for adapted in (False, True))
    assert 2.5 < unadapted < 5
    assert adapted < 1.0
