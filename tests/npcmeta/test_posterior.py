"""The posterior against definitions that are written down independently of it."""

import contextlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from npcmeta import posterior
from npcmeta.evaluate import take_steps
from npcmeta.heads import build_head
from npcmeta.posterior import Evidence
from npcmeta.types import Examples, Head
from tests import toys

TASKS, SHOTS, FEATURES = 2, 30, 4


def problem(kind: str, fixed_std: float = 0.0) -> tuple[Head, Tensor, Tensor, Examples]:
    """A head, what the average policy expects, features, and examples; all in float64."""
    head = build_head(toys.ACTIONS[kind], fixed_std)
    examples = toys.double(toys.draw_task(kind, TASKS, SHOTS).support)
    generator = Generator().manual_seed(4)
    average = 0.3 * torch.randn(TASKS, SHOTS, head.num_params, generator=generator, dtype=torch.float64)
    features = torch.randn(TASKS, SHOTS, FEATURES, generator=generator, dtype=torch.float64)
    return head, average, features, examples


def nothing(head: Head) -> Evidence:
    precision = torch.zeros(TASKS, len(head.alike), FEATURES, FEATURES, dtype=torch.float64)
    return Evidence(precision, torch.zeros(TASKS, FEATURES, head.num_params, dtype=torch.float64))


def objective(head: Head, average: Tensor, features: Tensor, examples: Examples, temper: float, v: Tensor) -> Tensor:
    output = average + head.unit(average) * (features @ v)
    nll = head.nll(output, examples.action, examples.action_mask) * examples.weight
    return temper * nll.sum(-1) + 0.5 * v.square().sum((-1, -2))


def test_means_are_ridge_regression_after_one_step() -> None:
    std, temper = 0.4, 0.3
    head, average, features, examples = problem("continuous", std)
    v, _, _ = posterior.fit(head, average, features, examples, nothing(head), torch.full((TASKS,), temper).double(), 1)
    for task in range(TASKS):
        z = features[task].numpy()
        left = ((examples.action.continuous - average)[task] / std).numpy()
        expected = np.linalg.solve(temper * z.T @ z + np.eye(FEATURES), temper * z.T @ left)
        np.testing.assert_allclose(v[task], expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", list(toys.ACTIONS))
def test_no_step_makes_the_fit_worse(kind: str) -> None:
    head, average, features, examples = problem(kind)
    temper = torch.full((TASKS,), 0.5, dtype=torch.float64)
    fits = [posterior.fit(head, average, features, examples, nothing(head), temper, steps)[0] for steps in range(13)]
    values = torch.stack([objective(head, average, features, examples, 0.5, v) for v in fits])
    if kind == "discrete":
        assert (values[1:] <= values[:-1] + 1e-12).all()
    assert (values[6] < values[0] - 1).all()
    assert (values[6] < values[12] + 0.05 * (values[0] - values[12])).all()


def test_discrete_fits_reach_the_optimum() -> None:
    head, average, features, examples = problem("discrete")
    temper = torch.full((TASKS,), 0.2, dtype=torch.float64)
    v, _, _ = posterior.fit(head, average, features, examples, nothing(head), temper, 200)
    v.requires_grad_()
    (slope,) = torch.autograd.grad(objective(head, average, features, examples, 0.2, v).sum(), v)
    assert slope.abs().max() < 1e-8


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_earlier_evidence_stands_for_the_examples_it_came_from(kind: str) -> None:
    head, average, features, examples = problem(kind, 0.5)
    temper = torch.full((TASKS,), 0.3, dtype=torch.float64)
    half = SHOTS // 2
    first = take_steps(examples, half)
    _, evidence, _ = posterior.fit(head, average[:, :half], features[:, :half], first, nothing(head), temper, 100)
    late = examples._replace(weight=examples.weight * (torch.arange(SHOTS) >= half))
    refined, _, covariance = posterior.fit(head, average, features, late, evidence, temper, 100)
    whole, _, expected = posterior.fit(head, average, features, examples, nothing(head), temper, 100)
    torch.testing.assert_close(covariance, expected, rtol=1e-8, atol=1e-8)
    # Exact where the NLL is a quadratic, close where it is not.
    slack = 1e-8 if kind == "continuous" else 0.25 * float(whole.abs().max())
    assert (refined - whole).abs().max() < slack


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 40), log_condition=st.floats(0, 4), seed=st.integers(0, 999))
def test_inverse_is_one(size: int, log_condition: float, seed: int) -> None:
    generator = Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))[0]
    grown = basis * torch.logspace(-3, log_condition, size, dtype=torch.float64) @ basis.T
    matrix = torch.eye(size, dtype=torch.float64) + (grown + grown.T) / 2
    expected = torch.linalg.inv(matrix)
    for way in (contextlib.nullcontext, posterior.products_alone):
        with way():
            torch.testing.assert_close(posterior.inverse(matrix), expected, rtol=1e-8, atol=1e-10)
            torch.testing.assert_close(posterior.inverse(matrix.float()).double(), expected, rtol=1e-3, atol=1e-4)


def test_an_inverse_that_cannot_be_factorised_is_finite_and_leaves_the_others_alone() -> None:
    stiff = torch.eye(8) + 1e9 * torch.ones(8, 8)  # rounding leaves nothing of the identity
    easy = 3 * torch.eye(8)
    found = posterior.inverse(torch.stack([stiff, easy]))
    assert torch.linalg.cholesky_ex(stiff).info > 0
    assert found.isfinite().all()
    torch.testing.assert_close(found[1], torch.eye(8) / 3)


def test_inverse_has_its_gradient() -> None:
    root = torch.randn(2, 5, 5, generator=Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)

    def inverse_of_square(values: Tensor) -> Tensor:
        return posterior.inverse(values @ values.transpose(-1, -2) + posterior.identity(5, values))

    assert torch.autograd.gradcheck(inverse_of_square, (root,))


def test_extreme_outliers_stay_finite() -> None:
    head, average, features, examples = problem("mixed")
    wild = examples._replace(action=examples.action._replace(continuous=1e3 * examples.action.continuous))
    temper = torch.ones(TASKS, dtype=torch.float64)
    v, evidence, _ = posterior.fit(head, average - 5, 10 * features, wild, nothing(head), temper, 6)
    assert v.isfinite().all()
    assert evidence.pull.isfinite().all()
    assert math.isfinite(float(objective(head, average - 5, 10 * features, wild, 1.0, v).sum()))


def test_a_character_is_better_known_the_more_it_showed() -> None:
    head, average, features, examples = problem("mixed")
    shares = []
    for shown in (0, 3, 30):
        part = examples._replace(weight=examples.weight * (torch.arange(SHOTS) < shown))
        _, _, covariance = posterior.fit(head, average, features, part, nothing(head), torch.ones(TASKS).double(), 1)
        shares.append(posterior.known(features, covariance))
    torch.testing.assert_close(shares[0], torch.zeros(TASKS, dtype=torch.float64))
    assert (shares[0] < shares[1]).all()
    assert (shares[1] < shares[2]).all()
    assert (shares[2] < 1).all()


def test_what_is_known_is_the_share_of_a_situations_variance() -> None:
    covariance = torch.diag(torch.tensor([1.0, 0.5, 0.25])).reshape(1, 1, 3, 3)
    assert posterior.known(torch.eye(3)[:1].unsqueeze(0), covariance).item() == 0.0
    assert posterior.known(torch.eye(3)[2:].unsqueeze(0), covariance).item() == 0.75
    assert posterior.known(2 * torch.eye(3)[1:].unsqueeze(0), covariance).item() == pytest.approx(1 - 0.75 / 2)


def test_how_many_more_examples_make_a_character_known() -> None:
    """Where the prior counts for 60 examples, 20 make a quarter, and 40 more make a half."""
    assert posterior.examples_until(0.25, 20, 0.5) == pytest.approx(40)
    assert posterior.examples_until(0.8, 20, 0.5) == 0.0
    assert posterior.examples_until_next_tenth(0.25, 20) == (0.3, 6)
    assert posterior.examples_until_next_tenth(0.5, 20) == (0.6, 10)
    assert posterior.examples_until_next_tenth(0.93, 500) == (1.0, 0)
    assert posterior.examples_until_next_tenth(0.896, 500) == (1.0, 0), "who is known to 90 % is not about to be"
    assert posterior.examples_until_next_tenth(0.796, 100)[0] == 0.9
