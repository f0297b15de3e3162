"""Calibration on cases whose answers are known."""

import math

import pytest
import torch
from torch import Generator, Tensor

from npcmeta import calibration, heads
from npcmeta.archetype import draw_state_noise
from npcmeta.types import Action, ActionSpec, Examples, Learner
from tests import toys

TURN = ActionSpec(0, (3,))
SURE = 50.0


def test_a_mixture_is_the_mean_of_the_likelihoods() -> None:
    nll = torch.tensor([[math.log(2), 0.0], [math.log(4), 0.0]])
    torch.testing.assert_close(calibration.mixture_nll(nll), torch.tensor([-math.log((1 / 2 + 1 / 4) / 2), 0.0]))


def test_a_mixture_of_two_normals_has_half_below_the_middle_and_half_between_them() -> None:
    mean, std = torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), torch.full((2, 2), 1e-3)
    found = calibration.mixture_cdf(mean, std, torch.tensor([0.0, -1.0]))
    torch.testing.assert_close(found, torch.tensor([0.5, 0.25]))


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_values_of_the_distribution_itself_are_covered_as_they_should_be(level: float) -> None:
    taken = torch.randn(20_000, generator=Generator().manual_seed(0))
    cdf = calibration.mixture_cdf(torch.zeros(1, 1), torch.ones(1, 1), taken)
    assert calibration.coverage(cdf, torch.ones(20_000), level) == pytest.approx(level, abs=0.01)
    too_narrow = calibration.mixture_cdf(torch.zeros(1, 1), torch.full((1, 1), 0.25), taken)
    assert calibration.coverage(too_narrow, torch.ones(20_000), level) < level - 0.2


def test_coverage_counts_by_weight() -> None:
    assert calibration.coverage(torch.tensor([0.5, 0.99, 0.0]), torch.tensor([3.0, 1.0, 0.0]), 0.9) == 0.75


def test_calibration_error_is_what_confidence_promises_too_much_or_too_little() -> None:
    right = torch.tensor([True, True, True, False, False])
    ones = torch.ones(5)
    assert calibration.calibration_error(torch.full((5,), 0.6), right, ones) == pytest.approx(0.0, abs=1e-6)
    assert calibration.calibration_error(torch.full((5,), 0.85), right, ones) == pytest.approx(0.25)
    assert calibration.calibration_error(torch.full((5,), 0.35), right, ones) == pytest.approx(0.25)


def test_errors_of_different_bins_do_not_cancel_and_padding_does_not_count() -> None:
    confidence, right = torch.tensor([0.55, 0.95, 1.0]), torch.tensor([True, False, False])
    found = calibration.calibration_error(confidence, right, torch.tensor([1.0, 1.0, 0.0]))
    assert found == pytest.approx((0.45 + 0.95) / 2)


def turns(tasks: int, decisions: int) -> Examples:
    """Characters who always turn left, choice 0; the third choice is never allowed."""
    rows = (tasks, decisions)
    mask = torch.tensor([True, True, False]).expand(*rows, 3)
    action = Action(torch.zeros(*rows, 0), torch.zeros(*rows, 1, dtype=torch.int64))
    return Examples(torch.zeros(*rows, 1), action, mask, torch.ones(rows))


def logits(*draws: tuple[float, float]) -> Tensor:
    """Each draw's logits of left and right, for a task of four decisions; the forbidden choice looks best of all."""
    return torch.tensor([[*draw, 2 * SURE] for draw in draws]).reshape(len(draws), 1, 1, 3).expand(-1, 1, 4, 3)


def deciding(action: ActionSpec) -> Learner:
    kind = next(kind for kind, known in toys.ACTIONS.items() if bool(known.branch_sizes) == bool(action.branch_sizes))
    return toys.small_settings("cnp").build(toys.spec(kind))._replace(head=heads.build_head(action))


def test_draws_that_commit_are_better_characters_than_one_that_wavers() -> None:
    committed = calibration.measure(deciding(TURN), TURN, logits((SURE, 0.0), (0.0, SURE)), turns(1, 4))
    wavering = calibration.measure(deciding(TURN), TURN, logits((0.0, 0.0), (0.0, 0.0)), turns(1, 4))
    assert committed.nll_draw == pytest.approx(SURE / 2)
    assert wavering.nll_draw == pytest.approx(math.log(2))
    assert committed.nll_mixture == pytest.approx(math.log(2))
    assert wavering.nll_mixture == pytest.approx(math.log(2))
    assert committed.nll_character == pytest.approx(math.log(2) / 4)
    assert wavering.nll_character == pytest.approx(math.log(2))
    assert (committed.disagreement, committed.indecision) == pytest.approx((1.0, 0.0))
    assert (wavering.disagreement, wavering.indecision) == pytest.approx((0.0, 0.5))
    assert committed.calibration_error == pytest.approx(0.5)
    assert all(math.isnan(value) for value in (committed.spread, committed.coverage_50, committed.coverage_90))


def test_decisions_without_weight_do_not_count() -> None:
    query = turns(1, 4)
    half = query._replace(weight=torch.tensor([[1.0, 1.0, 0.0, 0.0]]))
    params = logits((SURE, 0.0), (0.0, 0.0)).clone()
    params[:, :, 2:, 1] = 3 * SURE
    counted = calibration.measure(deciding(TURN), TURN, params, half)
    alone = calibration.measure(deciding(TURN), TURN, params[:, :, :2], turns(1, 2))
    assert tuple(counted) == pytest.approx(tuple(alone), nan_ok=True)


def test_every_task_counts_the_same_however_many_decisions_it_has() -> None:
    """The first task is decided once and rightly, the second four times and wrongly."""
    query = turns(2, 4)
    query = query._replace(weight=torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    params = torch.cat([logits((SURE, 0.0), (SURE, 0.0)), logits((0.0, SURE), (0.0, SURE))], 1)
    assert calibration.measure(deciding(TURN), TURN, params, query).calibration_error == pytest.approx(0.5)
    action = ActionSpec(1, ())
    moved = query._replace(action=Action(torch.zeros(2, 4, 1), torch.zeros(2, 4, 0, dtype=torch.int64)))
    beside = torch.zeros(2, 2, 4, 2)
    beside[:, 1, :, 0] = 100.0
    found = calibration.measure(
        deciding(action), action, beside, moved._replace(action_mask=query.action_mask[..., :0])
    )
    assert found.coverage_90 == pytest.approx(0.5)


def test_spread_is_the_deviation_between_draws() -> None:
    action, rows = ActionSpec(1, ()), (1, 6)
    taken = Action(torch.zeros(*rows, 1), torch.zeros(*rows, 0, dtype=torch.int64))
    query = Examples(torch.zeros(*rows, 1), taken, torch.zeros(*rows, 0, dtype=torch.bool), torch.ones(rows))
    params = torch.zeros(2, *rows, 2)
    params[0, ..., 0], params[1, ..., 0] = -0.3, 0.3
    found = calibration.measure(deciding(action), action, params, query)
    assert found.spread == pytest.approx(0.3 * math.sqrt(2))
    assert (found.coverage_50, found.coverage_90) == (1.0, 1.0)
    assert math.isnan(found.disagreement)


def test_draws_are_those_of_npcs_with_these_seeds() -> None:
    learner = toys.small_settings("latent_np").build(toys.spec("mixed"))
    meta, task = learner.init(Generator().manual_seed(0)), toys.draw_task("mixed", 20, 3)
    params = calibration.draw_params(learner, meta, task, 2)
    noise = draw_state_noise(learner, range(20, 40))
    state = learner.update(meta, learner.begin(meta, 20, noise), task.support)
    torch.testing.assert_close(params[1], learner.predict(meta, state, task.query.observation))
    assert not torch.equal(params[0], params[1])


def test_a_learner_without_noise_draws_the_same_again() -> None:
    learner = toys.small_settings("cnp").build(toys.spec("mixed"))
    meta, task = learner.init(Generator().manual_seed(0)), toys.draw_task("mixed", 20, 3)
    params = calibration.draw_params(learner, meta, task, 3)
    found = calibration.measure(learner, toys.ACTIONS["mixed"], params, task.query)
    assert found.spread == found.disagreement == 0.0
    assert found.nll_draw == pytest.approx(found.nll_mixture, abs=1e-6)
    assert found.nll_draw == pytest.approx(found.nll_character, abs=1e-6)
