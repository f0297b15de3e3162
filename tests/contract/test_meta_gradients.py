"""Meta-gradients in float64: differentiating through the inner loop must agree with differences and definitions."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from npcmeta import networks
from npcmeta.evaluate import support_nll
from npcmeta.learners.query_loss import mean_nll
from npcmeta.types import Examples, Params, Task
from tests import toys
from tests.contract.cases import Case, build_case

FIRST_ORDER = ("fomaml",)
"""Learners that leave out second derivatives on purpose: their meta-gradient is not that of their meta-loss."""
TOWARDS_A_POINT = ("reptile",)
"""Learners whose meta-loss holds the weights that they reach as fixed."""
IN_STAGES = ("bayes",)
"""Learners of which one part learns on top of another without changing it."""
EXACT = [case for case in toys.cases()
         if case[0].partition("-")[0] not in (*FIRST_ORDER, *TOWARDS_A_POINT, *IN_STAGES)]  # fmt: skip


def meta_gradient(case: Case, meta: Params, kind: str) -> Params:
    leaves = {key: value.clone().requires_grad_() for key, value in meta.items()}
    loss, _ = case.learner.meta_loss(leaves, ragged_task(kind), Generator().manual_seed(0))
    gradients = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, gradients, strict=True))


def ragged_task(kind: str) -> Task:
    task = toys.double_task(toys.draw_task(kind, 3, 6, query_shots=8))
    weight = (torch.arange(6) < torch.tensor([[0], [2], [6]])).double()
    return task._replace(support=task.support._replace(weight=weight))


@pytest.mark.parametrize(("name", "kind"), EXACT)
def test_meta_gradient_is_the_slope_of_the_meta_loss(name: str, kind: str) -> None:
    case = build_case(name, kind)
    meta = toys.double_params(case.trained)
    task, gradients = ragged_task(kind), meta_gradient(case, meta, kind)
    for number, key in enumerate(meta):
        direction = random_direction(meta, key, number)
        slope = slope_along(lambda moved: case.learner.meta_loss(moved, task, Generator().manual_seed(0))[0].detach(),
                            meta, key, direction)  # fmt: skip
        torch.testing.assert_close((gradients[key] * direction).sum(), slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("name", "kind"), [case for case in toys.cases() if case[0] in IN_STAGES])
def test_each_stage_has_the_slope_of_its_own_loss(name: str, kind: str) -> None:
    """The average policy follows its own NLL alone; the posterior's parts follow the adapted one."""
    case = build_case(name, kind)
    meta, task = toys.double_params(case.trained), ragged_task(kind)
    gradients, share = meta_gradient(case, meta, kind), case.settings.unadapted_share  # type: ignore[attr-defined]

    def whole(moved: Params) -> Tensor:
        return case.learner.meta_loss(moved, task, Generator().manual_seed(0))[0].detach()

    def unadapted(moved: Params) -> Tensor:
        query, activation = task.query, case.settings.activation  # type: ignore[attr-defined]
        members = [networks.under_prefix(f"member.{m}.", moved) for m in range(case.settings.members)]  # type: ignore[attr-defined]
        outputs = [networks.forward(member, query.observation, activation)[0] for member in members]
        return share * torch.stack([mean_nll(case.learner.head, each, query) for each in outputs]).mean()

    average = [key for key in meta if key.startswith("member.")]
    assert 0 < len(average) < len(meta)
    for number, key in enumerate(meta):
        direction = random_direction(meta, key, number)
        slope = slope_along(unadapted if key in average else whole, meta, key, direction)
        torch.testing.assert_close((gradients[key] * direction).sum(), slope, rtol=1e-6, atol=1e-8)


def random_direction(meta: Params, key: str, seed: int) -> Tensor:
    return torch.randn(meta[key].shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def slope_along(loss: Callable[[Params], Tensor], meta: Params, key: str, direction: Tensor) -> Tensor:
    """The central difference of a loss as one meta-parameter moves."""
    width = 1e-6
    ahead, behind = (loss(meta | {key: meta[key] + amount * direction}) for amount in (width, -width))
    return (ahead - behind) / (2 * width)


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_first_order_gradient_is_the_one_at_the_adapted_weights(name: str, kind: str) -> None:
    case = build_case(name, kind)
    meta, task = toys.double_params(case.trained), ragged_task(kind)
    adapted = case.learner.update(meta, case.begin(3, meta), task.support)
    share = case.settings.unadapted_share  # type: ignore[attr-defined]
    at_adapted = query_gradient(case, adapted, task.query)
    at_start = query_gradient(case, case.begin(3, meta), task.query)
    expected = {key: (at_adapted[key] + share * at_start[key]).sum(0) for key in meta}
    toys.assert_close(meta_gradient(case, meta, kind), expected, 1e-10)


def query_gradient(case: Case, state: Params, query: Examples) -> Params:
    leaves = {key: value.detach().clone().requires_grad_() for key, value in state.items()}
    loss = support_nll(case.learner, case.trained, leaves, query).mean()
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


def test_second_derivatives_matter(kind: str) -> None:
    """Otherwise the tests above could not tell MAML from its first-order form."""
    full, first = build_case("maml", kind), build_case("fomaml", kind)
    meta = toys.double_params(full.trained)
    with_second, without = meta_gradient(full, meta, kind), meta_gradient(first, meta, kind)
    assert any((with_second[key] - without[key]).abs().max() > 1e-3 for key in meta)
