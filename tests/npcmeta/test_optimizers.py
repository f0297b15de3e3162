"""The optimizers of the outer loop: everything is moved, and each is good at what it is for."""

from typing import get_args

import pytest
import torch
from torch import Generator, Tensor

from npcmeta.optimizers import Optimizer, build_optimizers

SHAPES = {"matrix": (6, 4), "vector": (4,), "row": (1, 5), "number": (), "filters": (2, 3, 2, 2)}


@pytest.mark.parametrize("kind", get_args(Optimizer))
def test_every_shape_of_parameter_reaches_its_aim(kind: Optimizer) -> None:
    generator = Generator().manual_seed(0)
    meta = {key: torch.randn(shape, generator=generator).requires_grad_() for key, shape in SHAPES.items()}
    optimizers = build_optimizers(kind, meta, rate=0.03, weight_decay=0.0)
    assert sum(len(group["params"]) for each in optimizers for group in each.param_groups) == len(meta)
    for _ in range(600):
        descend(optimizers, torch.stack([(value - 1).square().sum() for value in meta.values()]).sum())
    for key, value in meta.items():
        assert float((value.detach() - 1).abs().max()) < 0.3, key


@pytest.mark.parametrize("shape", [(6, 4), (3, 8)])
def test_muon_is_torchs_but_for_rounding(shape: tuple[int, int]) -> None:
    """torch's products are in bfloat16, of three digits."""
    generator = Generator().manual_seed(0)
    ours, theirs = (torch.ones(shape).requires_grad_() for _ in range(2))
    [guided] = build_optimizers("muon", {"weight": ours}, rate=0.05, weight_decay=0.2)
    published = torch.optim.Muon([theirs], 0.05, 0.2, adjust_lr_fn="match_rms_adamw")
    for _ in range(20):
        gradient = torch.randn(shape, generator=generator)
        for weight, optimizer in ((ours, guided), (theirs, published)):
            weight.grad = gradient.clone()
            optimizer.step()
    apart, moved = (float((ours - other).detach().norm()) for other in (theirs, torch.ones(shape)))
    assert 0 < apart < 0.02 * moved


def test_soap_of_a_single_number_is_adam() -> None:
    """One number has no directions but its own; SOAP only does not move at its first gradient."""
    ours, theirs = (torch.full((1, 1), 2.0).requires_grad_() for _ in range(2))
    [guided] = build_optimizers("soap", {"weight": ours}, rate=0.1, weight_decay=0.3)
    adam = torch.optim.AdamW([theirs], 0.1, betas=(0.95, 0.99), weight_decay=0.3)
    for step, slope in enumerate([1.0, 3.0, -1.0, 0.5, 20.0, 0.1, *[1.0] * 20]):
        for weight, optimizer in ((ours, guided), (theirs, adam)):
            weight.grad = torch.full((1, 1), slope)
            if step or optimizer is guided:
                optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_weight_decay_shrinks_what_soap_moves() -> None:
    weight = torch.full((3, 2), 2.0).requires_grad_()
    optimizers = build_optimizers("soap", {"weight": weight}, rate=0.1, weight_decay=0.5)
    for _ in range(11):  # the first only says where the bases begin
        descend(optimizers, 0.0 * weight.sum())
    torch.testing.assert_close(weight.detach(), torch.full((3, 2), 2.0 * 0.95**10))


def test_soap_turns_to_directions_that_came_later() -> None:
    generator = Generator().manual_seed(2)
    weight = torch.zeros(5, 3).requires_grad_()
    [guided] = build_optimizers("soap", {"weight": weight}, rate=0.1, weight_decay=0.0)
    for scales in (torch.ones(5), torch.logspace(0, -3, 5)):
        turn = torch.linalg.qr(torch.randn(5, 5, generator=generator))[0]
        for _ in range(600):
            weight.grad = turn @ (scales[:, None] * torch.randn(5, 3, generator=generator))
            guided.step()
    basis, rows = (guided.state[weight][key] for key in ("row_basis", "rows"))
    seen = basis.T @ rows @ basis
    assert float((seen - torch.diag(seen.diagonal())).norm()) < 0.01 * float(seen.norm())


def test_soap_gets_down_a_valley_askew_to_the_axes_in_which_adam_creeps() -> None:
    lowest = {kind: loss_in_a_valley(kind) for kind in get_args(Optimizer)}
    assert lowest["soap"] < 0.1 * lowest["adamw"]


def loss_in_a_valley(kind: Optimizer) -> float:
    """Loss after 400 steps; curvatures differ by 1e6, and no entry of the matrix is a direction of them."""
    generator = Generator().manual_seed(1)
    left, right = (skewed(size, generator) for size in (8, 6))
    weight = torch.zeros(8, 6).requires_grad_()
    aim = torch.randn(8, 6, generator=generator)
    optimizers = build_optimizers(kind, {"weight": weight}, rate=0.02, weight_decay=0.0)
    for step in range(400):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = 0.02 * (1 - step / 400)
        loss = (left @ (weight - aim) @ right).square().mean()
        descend(optimizers, loss)
    return float(loss.detach())


def skewed(size: int, generator: Generator) -> Tensor:
    """A matrix whose singular values lie between 1 and 0.03, in random directions."""
    first, last = (torch.linalg.qr(torch.randn(size, size, generator=generator))[0] for _ in range(2))
    return first @ torch.diag(torch.logspace(0, -1.5, size)) @ last


def descend(optimizers: list[torch.optim.Optimizer], loss: Tensor) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
