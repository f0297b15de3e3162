"""The convolutional network that adapts: against torch.nn and autograd, shared and stacked, and in its learners."""

import dataclasses
import math

import pytest
import torch
from torch import Generator, Tensor, nn

from npcmeta import convolutions, inner_loop, learners
from npcmeta.heads import build_head
from npcmeta.types import Action, ActionSpec, BehaviorSpec, Examples, Learner, Params, Task
from tests import toys

IMAGE = (9, 14, 2)
FILTERS, CHOICES = 5, 3
SPEC = BehaviorSpec(math.prod(IMAGE), ActionSpec(0, (CHOICES,)), 1.0)
ADAPTING = ("maml", "fomaml", "reptile", "cavia")


def drawn(tasks: int) -> Params:
    """Weights of every task's own, all of them different from what they begin with."""
    generator = Generator().manual_seed(0)
    shared = toys.double_params(convolutions.init_network(generator, IMAGE, FILTERS, CHOICES))
    stacked = inner_loop.stack(shared, tasks)
    return {
        key: value + 0.3 * torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for key, value in stacked.items()
    }


def pictures(*shape: int) -> Tensor:
    return torch.rand(*shape, math.prod(IMAGE), generator=Generator().manual_seed(1), dtype=torch.float64)


def draw_task(tasks: int = 3, shots: int = 6) -> Task:
    """Pictures of stripes, whose direction is the choice; which one is called what differs from task to task."""
    generator = Generator().manual_seed(2)

    def examples(count: int) -> Examples:
        choice = torch.randint(CHOICES, (tasks, count, 1), generator=generator)
        rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(14.0), indexing="ij")
        kind = ((choice.squeeze(-1) + torch.arange(tasks).unsqueeze(-1)) % CHOICES).reshape(tasks, count, 1, 1)
        along = torch.where(kind == 0, rows, torch.where(kind == 1, columns, rows + columns))
        seen = torch.sin(1.5 * along) + 0.3 * torch.randn(tasks, count, 9, 14, generator=generator)
        observation = torch.stack([seen, seen.flip(2)], -1).flatten(2).double()
        mask = torch.ones(tasks, count, CHOICES, dtype=torch.bool)
        return Examples(observation, Action(observation[..., :0], choice), mask, torch.ones(tasks, count).double())

    return Task(examples(shots), examples(12))


def build(name: str, **changes: object) -> Learner:
    settings = learners.settings_type(name)()
    changes = {"image": IMAGE, "filters": FILTERS} | changes
    return dataclasses.replace(settings, **changes).build(SPEC)  # type: ignore[type-var]


def begin(learner: Learner, tasks: int = 3) -> tuple[Params, Params]:
    meta = toys.double_params(learner.init(Generator().manual_seed(3)))
    return meta, learner.begin(meta, tasks, torch.zeros(tasks, 0))


def reference(params: Params, observation: Tensor) -> Tensor:
    """Outputs for one picture [O] under one task's weights."""
    x = observation.reshape(IMAGE).permute(2, 0, 1).unsqueeze(0)
    for block in range(4):
        kernel = params[f"{block}.weight"].reshape(3, 3, x.shape[1], FILTERS).permute(3, 2, 0, 1)
        x = nn.functional.conv2d(x, kernel, stride=2, padding=1)
        x = nn.functional.group_norm(x, 1, params[f"{block}.scale"], params[f"{block}.shift"]).relu()
    return x.permute(0, 2, 3, 1).flatten() @ params["4.weight"] + params["4.bias"]


def test_every_picture_goes_through_four_strided_blocks_of_torch_nn() -> None:
    params, observation = drawn(2), pictures(2, 3)
    found, _ = convolutions.forward(params, observation, IMAGE)
    for task in range(2):
        own = {key: value[task] for key, value in params.items()}
        expected = torch.stack([reference(own, picture) for picture in observation[task]])
        torch.testing.assert_close(found[task], expected, rtol=1e-10, atol=1e-10)
        shared, _ = convolutions.forward(own, observation, IMAGE)
        torch.testing.assert_close(shared[task], expected, rtol=1e-10, atol=1e-10)


def test_hand_written_gradient_is_autograd() -> None:
    params, observation = drawn(2), pictures(2, 3)
    slope = torch.randn(2, 3, CHOICES, generator=Generator().manual_seed(4), dtype=torch.float64)
    leaves = {key: value.requires_grad_() for key, value in params.items()}
    output, traces = convolutions.forward(leaves, observation, IMAGE)
    expected = torch.autograd.grad(output, list(leaves.values()), slope)
    found = convolutions.backward(leaves, traces, slope)
    toys.assert_close(found, dict(zip(leaves, expected, strict=True)), 1e-10)


@pytest.mark.parametrize("name", ["maml", "cavia"])
def test_meta_gradient_is_the_slope_of_the_meta_loss(name: str) -> None:
    learner, task = build(name, inner_steps=2, inner_rate=0.3), draw_task()
    meta, _ = begin(learner)
    leaves = {key: value.clone().requires_grad_() for key, value in meta.items()}
    loss, _ = learner.meta_loss(leaves, task, Generator())
    for number, (key, slope) in enumerate(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True)):
        direction = torch.randn(slope.shape, generator=Generator().manual_seed(number), dtype=torch.float64)
        there, back = (
            learner.meta_loss(meta | {key: meta[key] + step * direction}, task, Generator())[0]
            for step in (1e-6, -1e-6)
        )
        torch.testing.assert_close((slope * direction).sum(), (there - back) / 2e-6, rtol=1e-5, atol=1e-7)


def test_first_order_takes_the_gradient_at_the_adapted_weights() -> None:
    learner, task = build("fomaml", unadapted_share=0.0), draw_task(1)
    meta, start = begin(learner, 1)
    leaves = {key: value.clone().requires_grad_() for key, value in meta.items()}
    found = torch.autograd.grad(learner.meta_loss(leaves, task, Generator())[0], list(leaves.values()))
    reached = {key: value.requires_grad_() for key, value in learner.update(meta, start, task.support).items()}
    output = learner.predict(meta, reached, task.query.observation)
    nll = build_head(SPEC.action).nll(output, task.query.action, task.query.action_mask).mean()
    expected = torch.autograd.grad(nll, list(reached.values()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ADAPTING)
def test_adapting_goes_down_and_no_task_minds_its_neighbours(name: str) -> None:
    learner, task = build(name, inner_rate=0.1), draw_task()
    meta, start = begin(learner)
    state = learner.update(meta, start, task.support)
    head, support = learner.head, task.support

    def loss(state: Params) -> Tensor:
        return head.nll(learner.predict(meta, state, support.observation), support.action, support.action_mask).mean()

    assert loss(state) < loss(start)
    alone = Examples(
        support.observation[1:2],
        Action(support.action.continuous[1:2], support.action.discrete[1:2]),
        support.action_mask[1:2],
        support.weight[1:2],
    )
    own = learner.update(meta, {key: value[1:2] for key, value in start.items()}, alone)
    toys.assert_close(own, {key: value[1:2] for key, value in state.items()}, 1e-10)


@pytest.mark.parametrize("name", ADAPTING)
def test_no_weight_and_no_example_leave_the_state_bit_identical(name: str) -> None:
    learner, support = build(name), draw_task().support
    meta, start = begin(learner)
    state = learner.update(meta, start, support)
    toys.assert_same_bits(learner.update(meta, state, support._replace(weight=0 * support.weight)), state)
    toys.assert_same_bits(learner.update(meta, state, draw_task(shots=0).support), state)
    assert learner.embed(meta, start).abs().max() == 0
    assert learner.embed(meta, state).abs().amax(-1).min() > 0


@pytest.mark.parametrize("name", ADAPTING)
def test_learners_learn_to_learn_pictures(name: str) -> None:
    """Stripes are called by other names in other tasks, so without examples nothing can be right but by chance."""
    changes = {"minibatch": 0} if name == "reptile" else {}
    learner, task = build(name, inner_rate=0.3, **changes), draw_task(8, 9)
    meta, _ = begin(learner, 8)
    weights = {key: value.requires_grad_() for key, value in meta.items()}
    optimizer = torch.optim.Adam(list(weights.values()), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        learner.meta_loss(weights, task, Generator().manual_seed(0))[0].backward()
        optimizer.step()
    fixed = {key: value.detach() for key, value in weights.items()}
    state = learner.update(fixed, learner.begin(fixed, 8, torch.zeros(8, 0)), task.support)
    chosen = learner.predict(fixed, state, task.query.observation).argmax(-1)
    assert (chosen == task.query.action.discrete.squeeze(-1)).double().mean() > 0.8


def test_pictures_and_added_inputs_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="settings image and added_inputs=2 exclude each other"):
        build("maml", added_inputs=2)
