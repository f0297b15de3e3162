import itertools

import pytest
import torch
from torch import Generator, Tensor

from npcmeta import inner_loop, networks
from npcmeta.evaluate import take_examples
from npcmeta.heads import build_head
from npcmeta.learners import finetune
from npcmeta.types import Examples, Params
from tests import toys

KINDS = list(toys.ACTIONS)
ACTIVATIONS = list(networks.ACTIVATIONS)


def drawn(kind: str, num_tasks: int = 3) -> Params:
    sizes = (toys.OBSERVATION, 8, build_head(toys.ACTIONS[kind]).num_params)
    each = [networks.init_mlp(Generator().manual_seed(i), sizes, last_scale=1.0) for i in range(num_tasks)]
    return {key: torch.stack([params[key] for params in each]).double() for key in each[0]}


def ragged(kind: str, counts: tuple[int, ...] = (1, 4, 9)) -> Examples:
    support = toys.double(toys.draw_task(kind, len(counts), max(counts)).support)
    weight = torch.arange(max(counts)) < torch.tensor(counts).unsqueeze(-1)
    return support._replace(weight=weight * torch.linspace(0.5, 2, max(counts), dtype=torch.float64))


def support_loss(kind: str, weights: Params, examples: Examples, activation: str) -> Tensor:
    """Sum over tasks of each one's weighted mean NLL: its gradient by stacked weights is every task's own."""
    output = networks.forward(weights, examples.observation, activation)[0]
    nll = build_head(toys.ACTIONS[kind]).nll(output, examples.action, examples.action_mask)
    return ((nll * examples.weight).sum(-1) / examples.weight.sum(-1)).sum()


def autograd(kind: str, weights: Params, examples: Examples, activation: str) -> Params:
    leaves = {key: value.clone().requires_grad_() for key, value in weights.items()}
    found = torch.autograd.grad(support_loss(kind, leaves, examples, activation), list(leaves.values()))
    return dict(zip(leaves, found, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_hand_written_gradient_is_autograd(kind: str, activation: str) -> None:
    weights, examples, head = drawn(kind), ragged(kind), build_head(toys.ACTIONS[kind])
    found = inner_loop.support_gradient(head, weights, examples, activation)
    toys.assert_close(found, autograd(kind, weights, examples, activation), 1e-12)


def test_clipping_bounds_each_task_alone() -> None:
    gradients = {"a": torch.tensor([[3.0], [0.3], [0.0]]), "b": torch.tensor([[[4.0]], [[0.4]], [[0.0]]])}
    clipped = inner_loop.clip_per_task(gradients, 1.0)
    torch.testing.assert_close(clipped["a"], torch.tensor([[0.6], [0.3], [0.0]]))
    torch.testing.assert_close(clipped["b"], torch.tensor([[[0.8]], [[0.4]], [[0.0]]]))


@pytest.mark.parametrize("kind", KINDS)
def test_sgd_steps_go_down_the_clipped_gradient(kind: str) -> None:
    weights, examples, head = drawn(kind), ragged(kind), build_head(toys.ACTIONS[kind])
    states = list(inner_loop.sgd_steps(head, weights, examples, activation="tanh", rate=0.1, steps=3, clip=1.0))
    assert len(states) == 4
    for before, after in itertools.pairwise(states):
        slope = inner_loop.clip_per_task(autograd(kind, before, examples, "tanh"), 1.0)
        toys.assert_close(after, {key: before[key] - 0.1 * slope[key] for key in before}, 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_adam_steps_are_those_of_torch(kind: str) -> None:
    """Every task has its own optimiser; one that has made its steps rests while the others go on."""
    weights, examples, counts = drawn(kind), ragged(kind), (0, 3, 7)
    states = list(
        inner_loop.adam_steps(
            build_head(toys.ACTIONS[kind]), weights, examples, activation="tanh", rate=0.01, steps=torch.tensor(counts)
        )
    )
    assert len(states) == max(counts) + 1
    for row, count in enumerate(counts):
        alone = take_examples(examples, torch.tensor([row]))
        leaves = {key: value[row : row + 1].clone().requires_grad_() for key, value in weights.items()}
        optimizer = torch.optim.Adam(list(leaves.values()), lr=0.01)
        for step, state in enumerate(states):
            toys.assert_close({k: v[row : row + 1] for k, v in state.items()}, detached(leaves), 1e-11)
            if step < count:
                optimizer.zero_grad()
                support_loss(kind, leaves, alone, "tanh").backward()
                optimizer.step()


def detached(params: Params) -> Params:
    return {key: value.detach() for key, value in params.items()}


def test_fine_tuning_makes_more_steps_for_more_examples() -> None:
    settings = finetune.FinetuneSettings(steps_per_example=0.1, min_steps=2, max_steps=40)
    shots = torch.tensor([0.0, 1.0, 20.0, 50.0, 100.0, 500.0, 10_000.0])
    assert finetune.number_of_steps(settings, shots).tolist() == [0, 2, 2, 5, 10, 40, 40]


def test_fine_tuning_counts_the_weights_not_the_rows() -> None:
    support = toys.draw_task("mixed", 2, 200).support
    learner = toys.small_settings("finetune").build(toys.spec("mixed"))
    meta = learner.init(Generator().manual_seed(0))
    weight = (torch.arange(200) < torch.tensor([[25], [200]])).float()
    states = list(learner.steps(meta, learner.begin(meta, 2, torch.zeros(2, 0)), support._replace(weight=weight)))
    assert len(states) == 1 + 16
    moved = [[not torch.equal(b["0.weight"][row], a["0.weight"][row]) for a, b in itertools.pairwise(states)]
             for row in range(2)]  # fmt: skip
    assert [sum(row) for row in moved] == [2, 16]


def test_stack_and_last() -> None:
    stacked = inner_loop.stack({"a": torch.arange(3.0)}, 2)
    assert stacked["a"].tolist() == [[0, 1, 2], [0, 1, 2]]
    assert inner_loop.last(iter([{"a": torch.zeros(1)}, stacked])) is stacked
