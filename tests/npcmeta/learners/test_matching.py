"""Matching networks against their definition, written out in loops, and what happens when the memory is full."""

import pytest
import torch
from torch import Generator, Tensor

from npcmeta.learners.matching import FLOOR, remember
from npcmeta.learners.memory import MIN_PRIOR
from npcmeta.types import Examples, Learner, Params
from tests import toys


def built(kind: str, **changes: object) -> tuple[Learner, Params]:
    learner = toys.small_settings("matching", activation="tanh", **changes).build(toys.spec(kind))
    meta = learner.init(Generator().manual_seed(0))
    if "spread" in meta:
        meta["spread"] = torch.tensor([-0.5, 0.3])
    return learner, toys.double_params(meta)


def begun(learner: Learner, meta: Params, num_tasks: int = 1) -> Params:
    return learner.begin(meta, num_tasks, torch.zeros(num_tasks, 0))


def features(meta: Params, observation: Tensor) -> Tensor:
    return torch.tanh(observation @ meta["features.0.weight"] + meta["features.0.bias"])


def prior(meta: Params, observation: Tensor) -> Tensor:
    return features(meta, observation) @ meta["prior.0.weight"] + meta["prior.0.bias"]


def attention(meta: Params, support: Examples, query: Tensor) -> Tensor:
    """Shares of one query observation [O]: those of the first task's examples, and the prior policy's behind them."""

    def key(observation: Tensor) -> Tensor:
        return features(meta, observation) @ meta["key.0.weight"] + meta["key.0.bias"]

    cosines = torch.cosine_similarity(key(support.observation[0]), key(query).unsqueeze(0), -1)
    likeness = support.weight[0] * torch.exp(10.0 * meta["sharpness"].exp() * (cosines - 1))
    null = MIN_PRIOR + meta["prior.count"].exp()
    return torch.cat([likeness, null]) / (likeness.sum() + null)


def test_what_is_done_is_the_attended_mean_of_what_was_done() -> None:
    learner, meta = built("mixed")
    task = toys.double_task(toys.draw_task("mixed", 1, 5))
    support = task.support._replace(weight=torch.tensor([[1.0, 2.0, 0.0, 1.0, 0.5]], dtype=torch.float64))
    found = learner.predict(meta, learner.update(meta, begun(learner, meta), support), task.query.observation)[0]
    differences = support.action.continuous[0] - prior(meta, support.observation[0])[:, :2]
    for row, observation in enumerate(task.query.observation[0]):
        shares, own = attention(meta, support, observation), prior(meta, observation)
        mean = own[:2] + (shares[:-1].unsqueeze(-1) * differences).sum(0)
        spread = own[2:4] + (1 - shares[-1]) * meta["spread"]
        torch.testing.assert_close(found[row, :4], torch.cat([mean, spread]), rtol=1e-7, atol=1e-7)
        for first, size, branch in ((4, 3, 0), (7, 2, 1)):
            expected = shares[-1] * own[first : first + size].softmax(0)
            for share, choice in zip(shares, support.action.discrete[0, :, branch].tolist(), strict=False):
                expected[choice] += share
            torch.testing.assert_close(found[row, first : first + size].exp(), expected, rtol=1e-7, atol=1e-7)


def test_without_examples_the_prior_policy_acts() -> None:
    learner, meta = built("mixed")
    query = toys.double(toys.draw_task("mixed", 1, 0).query)
    found = learner.predict(meta, begun(learner, meta), query.observation)[0]
    own = prior(meta, query.observation[0])
    torch.testing.assert_close(found[:, :4], own[:, :4], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found[:, 4:7].softmax(-1), own[:, 4:7].softmax(-1), rtol=10 * FLOOR, atol=10 * FLOOR)


def test_the_more_the_prior_counts_the_less_a_few_examples_change() -> None:
    moved = []
    for strength in (0.0, 1.0, 100.0):
        learner, meta = built("continuous", prior_examples=strength)
        task = toys.double_task(toys.draw_task("continuous", 1, 3))
        state = begun(learner, meta)
        outputs = [
            learner.predict(meta, each, task.query.observation)[..., :2]
            for each in (state, learner.update(meta, state, task.support))
        ]
        moved.append(float((outputs[1] - outputs[0]).norm()))
    assert moved[0] > moved[1] > 5 * moved[2]


def test_a_full_memory_forgets_the_oldest() -> None:
    learner, meta = built("mixed", capacity=4)
    support = toys.double(toys.draw_task("mixed", 2, 11).support)
    latest = part(support, slice(7, 11))
    expected = learner.update(meta, begun(learner, meta, 2), latest)
    at_once = learner.update(meta, begun(learner, meta, 2), support)
    one_by_one = begun(learner, meta, 2)
    for example in range(11):
        one_by_one = learner.update(meta, one_by_one, part(support, slice(example, example + 1)))
    assert expected["weight"].shape == (2, 4)
    toys.assert_close(at_once, expected, 1e-12)
    toys.assert_close(one_by_one, expected, 1e-12)


def test_examples_of_no_weight_push_nothing_out() -> None:
    learner, meta = built("discrete", capacity=4)
    support = toys.double(toys.draw_task("discrete", 2, 9).support)
    weight = torch.tensor([[1, 0, 2, 0, 0, 1, 0, 1, 0], [0, 0, 0, 0, 0, 0, 0, 0, 0]], dtype=torch.float64)
    state = learner.update(meta, begun(learner, meta, 2), support._replace(weight=weight))
    assert state["weight"].tolist() == [[1, 1, 2, 1], [0, 0, 0, 0]]


def test_an_example_of_weight_two_takes_one_slot() -> None:
    learner, meta = built("discrete", capacity=4)
    support = toys.double(toys.draw_task("discrete", 1, 4).support)
    state = learner.update(meta, begun(learner, meta), support._replace(weight=2 * support.weight))
    assert state["weight"].tolist() == [[2, 2, 2, 2]]


@pytest.mark.parametrize("capacity", [1, 3, 8])
def test_remembering_is_what_a_list_would_do(capacity: int) -> None:
    """Against a plain model, with random weights of which many are 0, in several parts."""
    generator, model = Generator().manual_seed(capacity), [[], [], []]  # type: ignore[var-annotated]
    state = {"weight": torch.zeros(3, capacity), "key": torch.zeros(3, capacity, 2)}
    for size in (0, 1, 5, 2, 9, 1, 1):
        weight = torch.rand(3, size, generator=generator) * (torch.rand(3, size, generator=generator) > 0.4)
        fresh = {"weight": weight, "key": torch.randn(3, size, 2, generator=generator)}
        state = remember(state, fresh, capacity)
        for row, known in enumerate(model):
            pairs = zip(weight[row].tolist(), fresh["key"][row].tolist(), strict=True)
            known[:0] = reversed([pair for pair in pairs if pair[0] > 0])
            kept = known[:capacity] + [(0.0, [0.0, 0.0])] * (capacity - len(known))
            assert state["weight"][row].tolist() == [pair[0] for pair in kept]
            assert state["key"][row].tolist() == [pair[1] for pair in kept]


def part(examples: Examples, steps: slice) -> Examples:
    action = type(examples.action)(*(each[:, steps] for each in examples.action))
    return Examples(examples.observation[:, steps], action, examples.action_mask[:, steps], examples.weight[:, steps])
