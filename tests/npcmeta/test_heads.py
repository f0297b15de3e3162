import itertools
import math

import pytest
import torch
from torch import Generator, Tensor
from torch.distributions import Categorical, Normal

from npcmeta.heads import MAX_LOG_STD, MIN_LOG_STD, action_features, build_head, moments, one_hot, probabilities
from npcmeta.types import Action, ActionSpec
from tests import toys

KINDS = list(toys.ACTIONS)
ROWS = (4, 6)


def drawn(kind: str, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Action, Tensor]:
    """Head parameters, and actions and masks that fit them."""
    query = toys.draw_task(kind, ROWS[0], 0, query_shots=ROWS[1]).query
    head = build_head(toys.ACTIONS[kind])
    params = 2 * torch.randn(*ROWS, head.num_params, generator=Generator().manual_seed(0), dtype=dtype)
    return params, Action(query.action.continuous.to(dtype), query.action.discrete), query.action_mask


def branch_logits(params: Tensor, mask: Tensor, spec: ActionSpec) -> list[Tensor]:
    """Written independently: what is not allowed has minus infinity."""
    logits = params[..., 2 * spec.continuous_size :].masked_fill(~mask, -torch.inf)
    return list(logits.split(spec.branch_sizes, -1)) if spec.branch_sizes else []


@pytest.mark.parametrize("kind", KINDS)
def test_nll_is_that_of_torch_distributions(kind: str) -> None:
    spec, (params, taken, mask) = toys.ACTIONS[kind], drawn(kind)
    mean, raw = params[..., : spec.continuous_size], params[..., spec.continuous_size : 2 * spec.continuous_size]
    log_std = MIN_LOG_STD + (MAX_LOG_STD - MIN_LOG_STD) * torch.sigmoid(raw)
    expected = -Normal(mean, log_std.exp()).log_prob(taken.continuous).sum(-1)
    for index, logits in enumerate(branch_logits(params, mask, spec)):
        expected = expected - Categorical(logits=logits, validate_args=False).log_prob(taken.discrete[..., index])
    torch.testing.assert_close(build_head(spec).nll(params, taken, mask), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_nll_gradient_is_that_of_autograd(kind: str) -> None:
    head, (params, taken, mask) = build_head(toys.ACTIONS[kind]), drawn(kind)
    params.requires_grad_()
    (expected,) = torch.autograd.grad(head.nll(params, taken, mask).sum(), params)
    torch.testing.assert_close(head.nll_gradient(params.detach(), taken, mask), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_parameters_stay_finite(kind: str, dtype: torch.dtype) -> None:
    head, (params, taken, mask) = build_head(toys.ACTIONS[kind]), drawn(kind, dtype)
    for scale in (0.0, 1e4, -1e4):
        for result in (head.nll(params * scale, taken, mask), head.nll_gradient(params * scale, taken, mask)):
            assert result.isfinite().all()
            assert result.dtype == dtype


def test_spread_is_bounded() -> None:
    """Else an inner loop that overfits one example drives the likelihood to infinity."""
    head = build_head(ActionSpec(1, ()))
    still = Action(torch.zeros(3, 1), torch.zeros(3, 0, dtype=torch.int64))
    params = torch.tensor([[0.0, -1e6], [0.0, 0.0], [0.0, 1e6]])
    log_std = head.nll(params, still, torch.zeros(3, 0, dtype=torch.bool)) - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(log_std, torch.tensor([MIN_LOG_STD, (MIN_LOG_STD + MAX_LOG_STD) / 2, MAX_LOG_STD]))


@pytest.mark.parametrize("kind", ["discrete", "mixed"])
def test_masked_choices_have_no_probability(kind: str) -> None:
    spec, (params, taken, mask) = toys.ACTIONS[kind], drawn(kind, torch.float32)
    head = build_head(spec)
    noise = head.draw_noise(Generator().manual_seed(1), (500, *ROWS))
    many = head.sample(params.expand(500, *params.shape), mask.expand(500, *mask.shape), noise).discrete
    for index, allowed in enumerate(mask.split(spec.branch_sizes, -1)):
        assert not allowed.all()
        assert allowed.expand(500, *allowed.shape).gather(-1, many[..., index : index + 1]).all()
        for choice in range(spec.branch_sizes[index]):
            chosen = taken.discrete.clone()
            chosen[..., index] = choice
            nll = head.nll(params, Action(taken.continuous, chosen), mask)
            assert (nll[~allowed[..., choice]] > 1e6).all()
    gradient = head.nll_gradient(params, taken, mask)[..., 2 * spec.continuous_size :]
    assert (gradient[~mask] == 0).all()


def test_a_mask_that_allows_nothing_gives_no_nan() -> None:
    spec = toys.ACTIONS["mixed"]
    head, (params, taken, mask) = build_head(spec), drawn("mixed", torch.float32)
    nothing = torch.zeros_like(mask)
    noise = head.draw_noise(Generator().manual_seed(1), ROWS)
    assert head.nll(params, taken, nothing).isfinite().all()
    assert head.nll_gradient(params, taken, nothing).isfinite().all()
    assert (head.sample(params, nothing, noise).discrete < torch.tensor(spec.branch_sizes)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_noise_of_zeros_is_the_mode(kind: str) -> None:
    spec, (params, _, mask) = toys.ACTIONS[kind], drawn(kind, torch.float32)
    head = build_head(spec)
    mode = head.mode(params, mask)
    zeros = head.sample(params, mask, torch.zeros(*ROWS, head.num_noise))
    assert torch.equal(mode.continuous, zeros.continuous)
    assert torch.equal(mode.discrete, zeros.discrete)
    assert torch.equal(mode.continuous, params[..., : spec.continuous_size].clamp(-1, 1))
    best = [logits.argmax(-1) for logits in branch_logits(params, mask, spec)]
    assert torch.equal(mode.discrete, torch.stack(best, -1) if best else torch.zeros(*ROWS, 0, dtype=torch.int64))


def test_samples_have_the_distribution_of_the_likelihood() -> None:
    spec, count = ActionSpec(2, (3, 2)), 40_000
    head = build_head(spec)
    params = torch.tensor([0.1, -0.3, -2.0, -0.8, 1.0, 0.0, -1.0, 0.5, 0.0])
    mask = torch.tensor([True, True, False, True, True])
    noise = head.draw_noise(Generator().manual_seed(0), (count,))
    action = head.sample(params.expand(count, -1), mask.expand(count, -1), noise)
    std = torch.exp(MIN_LOG_STD + (MAX_LOG_STD - MIN_LOG_STD) * torch.sigmoid(params[2:4]))
    z = (action.continuous - params[:2]) / std
    assert z.mean(0).abs().max() < 4 / math.sqrt(count)
    assert (z[:, 0].std() - 1).abs() < 4 / math.sqrt(2 * count)
    for index, logits in enumerate((params[4:6], params[7:9])):
        share = (action.discrete[:, index] == 0).float().mean()
        assert (share - logits.softmax(-1)[0]).abs() < 4 * 0.5 / math.sqrt(count)
    assert abs(torch.corrcoef(torch.stack([z[:, 0], action.discrete[:, 0].float()]))[0, 1]) < 4 / math.sqrt(count)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_fixed_by_its_generator(kind: str) -> None:
    spec = toys.ACTIONS[kind]
    head = build_head(spec)
    assert head.num_params == 2 * spec.continuous_size + spec.mask_size
    assert head.num_noise == spec.continuous_size + spec.mask_size
    noise = head.draw_noise(Generator().manual_seed(3), (2, 5))
    assert noise.shape == (2, 5, head.num_noise)
    assert torch.equal(noise, head.draw_noise(Generator().manual_seed(3), (2, 5)))
    assert not torch.equal(noise, head.draw_noise(Generator().manual_seed(4), (2, 5)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ActionSpec(0, ()), "decides nothing: 0 continuous actions"),
        (ActionSpec(-1, (2,)), "decides nothing: -1 continuous actions"),
        (ActionSpec(2, (3, 1)), r"branch sizes \(3, 1\): every branch needs at least 2 choices"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(spec: ActionSpec, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_head(spec)


def test_action_features_lay_out_values_then_choices() -> None:
    action = Action(torch.tensor([[0.5, -1.0]]), torch.tensor([[2, 0]]))
    assert action_features(action, ActionSpec(2, (3, 2))).tolist() == [[0.5, -1.0, 0, 0, 1, 1, 0]]
    assert torch.equal(one_hot(torch.tensor([1, 0]), 3), torch.tensor([[0.0, 1, 0], [1, 0, 0]]))
    assert one_hot(torch.tensor([1]), 2, torch.float64).dtype == torch.float64


@pytest.mark.parametrize("kind", KINDS)
def test_a_fixed_spread_gives_the_squared_error(kind: str) -> None:
    spec, (_, taken, mask) = toys.ACTIONS[kind], drawn(kind)
    head = build_head(spec, fixed_std=math.sqrt(0.5))
    assert head.num_params == spec.continuous_size + spec.mask_size
    params = torch.randn(*ROWS, head.num_params, generator=Generator().manual_seed(1), dtype=torch.float64)
    free = torch.cat([params[..., : spec.continuous_size]] * 2 + [params[..., spec.continuous_size :]], -1)
    logits_only = build_head(ActionSpec(0, spec.branch_sizes)) if spec.branch_sizes else None
    expected = (params[..., : spec.continuous_size] - taken.continuous).square().sum(-1)
    expected = expected + spec.continuous_size * 0.5 * math.log(math.pi)
    if logits_only is not None:
        expected = expected + logits_only.nll(free[..., 2 * spec.continuous_size :], taken, mask)
    torch.testing.assert_close(head.nll(params, taken, mask), expected, rtol=1e-12, atol=1e-12)
    leaf = params.clone().requires_grad_()
    (slope,) = torch.autograd.grad(head.nll(leaf, taken, mask).sum(), leaf)
    torch.testing.assert_close(head.nll_gradient(params, taken, mask), slope, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_moments_and_probabilities_say_what_the_nll_says(kind: str) -> None:
    spec, (params, taken, mask) = toys.ACTIONS[kind], drawn(kind)
    mean, std = moments(params, spec)
    expected = -Normal(mean, std).log_prob(taken.continuous).sum(-1)
    for branch, chances in enumerate(probabilities(params, mask, spec)):
        torch.testing.assert_close(chances.sum(-1), torch.ones(ROWS, dtype=params.dtype))
        expected = expected - chances.gather(-1, taken.discrete[..., branch : branch + 1]).squeeze(-1).log()
    torch.testing.assert_close(build_head(spec).nll(params, taken, mask), expected)
    forbidden = torch.cat([torch.zeros(*ROWS, 0), *probabilities(params, mask, spec)], -1)[~mask]
    assert torch.equal(forbidden, torch.zeros_like(forbidden))


def test_curvature_is_the_second_derivative_of_means_and_spreads_and_bounds_that_of_choices() -> None:
    """Where an action is one standard deviation away, which is usual; nearer, a spread bends as much."""
    spec, (params, taken, mask) = toys.ACTIONS["mixed"], drawn("mixed")
    head, (mean, std) = build_head(spec), moments(params, spec)
    usual, exact = (Action(mean + offset * std, taken.discrete) for offset in (1.0, 0.0))
    means, spreads, choices = head.curvature(params, usual, mask).unbind(-1)
    torch.testing.assert_close(head.curvature(params, exact, mask)[..., 1], spreads)
    for row in itertools.product(*map(range, ROWS)):
        picked = Action(usual.continuous[row], usual.discrete[row])
        hessian = torch.autograd.functional.hessian(lambda x: head.nll(x, picked, mask[row]), params[row])  # noqa: B023
        hessian = hessian * head.unit(params)[row] * head.unit(params)[row].unsqueeze(-1)
        bends = hessian.diagonal()
        torch.testing.assert_close(bends[:2], means[row].expand(2))
        torch.testing.assert_close(bends[2:4].max(), spreads[row])
        assert torch.linalg.eigvalsh(hessian[4:, 4:]).max() <= choices[row]
