"""What the learners that draw characters promise: seeds differ, zero is typical, evidence makes draws agree."""

import pytest
import torch
from torch import Tensor

from npcmeta.calibration import draw_params
from npcmeta.heads import moments
from npcmeta.types import Params
from tests import toys
from tests.contract.cases import Case, build_case

DRAWING = ("latent_np", "platipus", "abml")


@pytest.fixture(params=DRAWING)
def case(request: pytest.FixtureRequest) -> Case:
    return build_case(request.param, "mixed")


def quiet(case: Case, num_tasks: int) -> Params:
    return case.learner.begin(case.trained, num_tasks, torch.zeros(num_tasks, case.learner.noise_size))


def means(case: Case, state: Params, observation: Tensor) -> Tensor:
    return moments(case.learner.predict(case.trained, state, observation), toys.ACTIONS["mixed"])[0]


def spread(case: Case, shots: int) -> float:
    """Standard deviation of the mean action between NPCs of the same support set."""
    task = toys.draw_task("mixed", 16, shots)
    params = draw_params(case.learner, case.trained, task, 12)
    return float(moments(params, toys.ACTIONS["mixed"])[0].std(0).mean())


@pytest.mark.parametrize("shots", [0, 1])
def test_two_seeds_are_two_characters_and_one_seed_is_one(case: Case, shots: int) -> None:
    first, second, again = (
        draw_params(case.learner, case.trained, toys.draw_task("mixed", 3, shots), 2) for _ in "123"
    )
    assert torch.equal(first, again)
    assert torch.equal(first, second)
    assert ((first[0] - first[1]).abs().flatten(1).amax(1) > 1e-3).all()


def test_examples_make_draws_agree(case: Case) -> None:
    few, many = spread(case, 1), spread(case, 100)
    assert many < 0.8 * few


def test_noise_of_zero_is_in_the_middle_of_the_draws(case: Case) -> None:
    query = toys.draw_task("mixed", 1, 0).query
    typical = means(case, quiet(case, 1), query.observation)
    drawn = means(case, case.begin(200), query.observation.expand(200, -1, -1))
    nearest = (drawn - typical).square().mean((1, 2))
    between = (drawn - drawn.flip(0)).square().mean((1, 2))
    assert nearest.mean() < between.mean()


def test_an_example_more_does_not_undo_a_hundred(case: Case) -> None:
    many, one = toys.draw_task("mixed", 16, 100).support, toys.draw_task("mixed", 16, 1, seed=8).support
    begun = case.begin(16)
    adapted = case.learner.update(case.trained, begun, many)
    refined = case.learner.update(case.trained, adapted, one)
    losses = [nll(case, state, many) for state in (begun, adapted, refined)]
    assert losses[2] < losses[1] + 0.5 * (losses[0] - losses[1])


def nll(case: Case, state: Params, examples: toys.Examples) -> float:
    params = case.learner.predict(case.trained, state, examples.observation)
    return float(case.learner.head.nll(params, examples.action, examples.action_mask).mean())
