"""What every learner owes to the server, the exporter and the outer loop, whatever its idea is."""

import itertools
import math
import re

import pytest
import torch
from torch import Generator

from npcmeta.evaluate import support_nll, take_examples
from npcmeta.learners import LEARNERS
from npcmeta.types import Action, Examples, Task
from tests import toys
from tests.contract.cases import Case, build_case

ADDITIVE = ("protonet", "matching", "cnp", "latent_np")
"""Learners whose state is a sum over examples, or a list of them: adapting twice is adapting once on everything."""


def test_init_is_fixed_by_its_seed(case: Case) -> None:
    again = case.learner.init(Generator().manual_seed(0))
    other = case.learner.init(Generator().manual_seed(1))
    toys.assert_same_bits(again, case.meta)
    assert any(not torch.equal(other[key], value) for key, value in case.meta.items())


def test_state_is_what_the_learner_declares(case: Case) -> None:
    support = toys.draw_task(case.kind, 3, 4).support
    start = case.begin(3)
    reached = case.learner.update(case.trained, start, support)
    declared = [*case.learner.acting, *case.learner.memory]
    assert len(declared) == len(set(declared))
    for state in (start, reached):
        assert set(state) == set(declared)
        assert all(value.shape[0] == 3 for value in state.values())
    assert {key: value.shape for key, value in start.items()} == {key: value.shape for key, value in reached.items()}


@pytest.mark.parametrize("adapted", [False, True])
def test_actions_are_playable(case: Case, adapted: bool) -> None:
    head, query = case.learner.head, toys.draw_task(case.kind, 5, 0, query_shots=30).query
    for meta in (case.meta, case.trained):
        state = case.begin(5, meta)
        if adapted:
            state = case.learner.update(meta, state, toys.draw_task(case.kind, 5, 10).support)
        params = case.learner.predict(meta, state, query.observation)
        assert params.shape == (5, 30, head.num_params)
        assert params.isfinite().all()
        noise = head.draw_noise(Generator().manual_seed(0), (5, 30))
        for action in (head.mode(params, query.action_mask), head.sample(params, query.action_mask, noise)):
            assert_valid(action, query)


def test_no_weight_leaves_the_state_bit_identical(case: Case) -> None:
    support = toys.draw_task(case.kind, 3, 6).support
    garbage = support._replace(observation=support.observation * 100)
    state = case.learner.update(case.trained, case.begin(3), support)
    unchanged = case.learner.update(case.trained, state, garbage._replace(weight=torch.zeros(3, 6)))
    toys.assert_same_bits(unchanged, state)
    empty = toys.draw_task(case.kind, 3, 0).support
    toys.assert_same_bits(case.learner.update(case.trained, state, empty), state)


@pytest.mark.parametrize("shots", [0, 4])
def test_no_task_at_all_is_no_fault(case: Case, shots: int) -> None:
    nobody = toys.draw_task(case.kind, 0, shots).support
    reached = case.learner.update(case.trained, case.begin(0), nobody)
    assert {key: value.shape for key, value in reached.items()} == {k: v.shape for k, v in case.begin(0).items()}


def test_a_task_without_examples_is_untouched_by_its_neighbours(case: Case) -> None:
    support = toys.draw_task(case.kind, 3, 6).support
    weight = support.weight.clone()
    weight[1] = 0
    state = case.begin(3)
    reached = case.learner.update(case.trained, state, support._replace(weight=weight))
    toys.assert_same_bits({k: v[1] for k, v in reached.items()}, {k: v[1] for k, v in state.items()})
    assert any(not torch.equal(reached[key][0], state[key][0]) for key in state)


def test_padding_changes_nothing(case: Case) -> None:
    meta = toys.double_params(case.trained)
    support = toys.double(toys.draw_task(case.kind, 3, 6).support)
    plain = case.learner.update(meta, case.begin(3, meta), support)
    padded = case.learner.update(meta, case.begin(3, meta), with_padding(support, case.kind))
    toys.assert_close(padded, plain, 1e-10)


def test_padding_changes_nothing_of_the_meta_loss(case: Case) -> None:
    """Where minibatches are drawn, others would be; here they hold everything."""
    learner = toys.small_settings(case.name, activation="tanh", minibatch=0).build(toys.spec(case.kind))
    meta, task = toys.double_params(case.trained), toys.double_task(toys.draw_task(case.kind, 3, 6))
    padded = Task(*(with_padding(part, case.kind) for part in task))
    losses = [learner.meta_loss(meta, each, Generator().manual_seed(0))[0] for each in (task, padded)]
    torch.testing.assert_close(*losses, rtol=1e-10, atol=1e-10)


def test_a_weight_of_two_is_the_example_twice(case: Case) -> None:
    """In what is done, and in what is done after learning more; where examples are kept one by one, states differ."""
    meta = toys.double_params(case.trained)
    task = toys.double_task(toys.draw_task(case.kind, 3, 6))
    support, more = task.support, toys.double(toys.draw_task(case.kind, 3, 5, seed=4).support)
    twice = case.learner.update(meta, case.begin(3, meta), toys.join(support, support))
    heavy = case.learner.update(meta, case.begin(3, meta), support._replace(weight=2 * support.weight))
    for _ in range(2):
        outputs = [case.learner.predict(meta, state, task.query.observation) for state in (heavy, twice)]
        torch.testing.assert_close(*outputs, rtol=1e-10, atol=1e-10)
        embeddings = [case.learner.embed(meta, state) for state in (heavy, twice)]
        torch.testing.assert_close(*embeddings, rtol=1e-10, atol=1e-10)
        twice, heavy = (case.learner.update(meta, state, more) for state in (twice, heavy))


def test_a_batch_is_its_tasks_one_by_one(case: Case) -> None:
    meta = toys.double_params(case.trained)
    task = toys.double_task(toys.draw_task(case.kind, 4, 40))
    ragged = (torch.arange(40) < torch.tensor([[0], [1], [17], [40]])).double()
    support = task.support._replace(weight=ragged)
    start = case.begin(4, meta)
    together = case.learner.update(meta, start, support)
    outputs = case.learner.predict(meta, together, task.query.observation)
    for row in range(4):
        alone = take_examples(support, torch.tensor([row]))
        state = case.learner.update(meta, {k: v[row : row + 1] for k, v in start.items()}, alone)
        toys.assert_close(state, {k: v[row : row + 1] for k, v in together.items()}, 1e-10)
        output = case.learner.predict(meta, state, task.query.observation[row : row + 1])
        torch.testing.assert_close(output, outputs[row : row + 1], rtol=1e-10, atol=1e-10)


def test_meta_training_learns(case: Case) -> None:
    assert all(math.isfinite(loss) for loss in case.losses)
    assert sum(case.losses[-12:]) < sum(case.losses[:12])


def test_meta_loss_is_a_scalar_with_finite_metrics(case: Case) -> None:
    task = toys.draw_task(case.kind, 4, 5)
    loss, metrics = case.learner.meta_loss(case.trained, task, Generator().manual_seed(0))
    again, _ = case.learner.meta_loss(case.trained, task, Generator().manual_seed(0))
    assert loss.shape == ()
    assert torch.equal(loss, again)
    assert metrics
    assert all(type(value) is float and math.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize("shots", [1, 5, 20, 100])
def test_adapting_lowers_the_support_loss(case: Case, shots: int) -> None:
    support = toys.draw_task(case.kind, 24, shots, seed=3).support
    start = case.begin(24)
    reached = case.learner.update(case.trained, start, support)
    before, after = (support_nll(case.learner, case.trained, state, support).mean() for state in (start, reached))
    assert after < before if shots == 100 else after <= before


def test_steps_lead_from_the_state_to_the_update(case: Case) -> None:
    support = toys.draw_task(case.kind, 3, 20).support
    state = case.begin(3)
    steps = list(case.learner.steps(case.trained, state, support))
    assert len(steps) >= 2
    toys.assert_same_bits(steps[0], state)
    toys.assert_same_bits(steps[-1], case.learner.update(case.trained, state, support))


def test_num_steps_says_when_each_task_stops_changing(case: Case) -> None:
    support = toys.draw_task(case.kind, 3, 60).support
    weight = (torch.arange(60) < torch.tensor([[0], [3], [60]])).float()
    states = list(case.learner.steps(case.trained, case.begin(3), support._replace(weight=weight)))
    count = case.learner.num_steps(weight.sum(-1))
    assert count.dtype == torch.int64
    assert int(count.max()) == len(states) - 1
    for row, last in enumerate(count.tolist()):
        moved = [any(not torch.equal(b[key][row], a[key][row]) for key in a) for a, b in itertools.pairwise(states)]
        assert moved == [step < last for step in range(len(moved))]


def test_inputs_are_left_as_they_were(case: Case) -> None:
    """The server keeps the old state until a commit, so nothing may be changed in place."""
    support = toys.draw_task(case.kind, 3, 20).support
    state = {key: value.contiguous() for key, value in case.begin(3).items()}
    kept, meta = ({key: value.clone() for key, value in tree.items()} for tree in (state, case.trained))
    case.learner.update(case.trained, state, support)
    toys.assert_same_bits(state, kept)
    toys.assert_same_bits(case.trained, meta)


def test_predict_and_embed_read_acting_keys_only(case: Case) -> None:
    task = toys.draw_task(case.kind, 3, 10)
    state = case.learner.update(case.trained, case.begin(3), task.support)
    acting = {key: state[key] for key in case.learner.acting}
    whole = case.learner.predict(case.trained, state, task.query.observation)
    assert torch.equal(case.learner.predict(case.trained, acting, task.query.observation), whole)
    embedding = case.learner.embed(case.trained, acting)
    assert embedding.dim() == 2
    assert embedding.shape[0] == 3
    assert embedding.isfinite().all()


def test_embedding_tells_characters_apart(case: Case) -> None:
    support = toys.draw_task(case.kind, 4, 100).support
    embedding = case.learner.embed(case.trained, case.learner.update(case.trained, case.begin(4), support))
    assert all(not torch.equal(embedding[a], embedding[b]) for a, b in itertools.combinations(range(4), 2))


@pytest.mark.parametrize(("name", "kind"), [each for each in toys.cases() if each[0] in ADDITIVE])
def test_additive_states_do_not_mind_in_how_many_parts(name: str, kind: str) -> None:
    case = build_case(name, kind)
    meta = toys.double_params(case.trained)
    first, second = (toys.double(toys.draw_task(kind, 3, shots, seed=shots).support) for shots in (4, 9))
    start = case.begin(3, meta)
    one_by_one = case.learner.update(meta, case.learner.update(meta, start, first), second)
    at_once = case.learner.update(meta, start, toys.join(first, second))
    toys.assert_close(one_by_one, at_once, 1e-12)


@pytest.mark.parametrize("kind", ["continuous", "mixed"])
@pytest.mark.parametrize("name", toys.DISCRETE_ONLY)
def test_a_learner_that_cannot_decide_such_actions_says_which_can(name: str, kind: str) -> None:
    with pytest.raises(ValueError, match=f"{name} .* 2 continuous actions; use ") as refused:
        toys.small_settings(name).build(toys.spec(kind))
    named = re.findall(r"\w+", str(refused.value).partition("; use ")[2])
    assert [each for each in named if each in LEARNERS and kind in toys.kinds(each)] != []


def with_padding(examples: Examples, kind: str) -> Examples:
    """The examples, and five more of weight 0."""
    padding = toys.double(toys.draw_task(kind, len(examples.weight), 5, seed=9).support)
    return toys.join(
        examples, padding._replace(observation=padding.observation * 50, weight=torch.zeros_like(padding.weight))
    )


def assert_valid(action: Action, examples: Examples) -> None:
    assert action.continuous.shape == examples.action.continuous.shape
    assert action.discrete.shape == examples.action.discrete.shape
    assert action.discrete.dtype == torch.int64
    assert (action.continuous.abs() <= 1).all()
    sizes = toys.ACTIONS["discrete"].branch_sizes if action.discrete.shape[-1] else ()
    for branch, mask in enumerate(examples.action_mask.split(sizes, -1) if sizes else ()):
        assert mask.gather(-1, action.discrete[..., branch : branch + 1]).all()
