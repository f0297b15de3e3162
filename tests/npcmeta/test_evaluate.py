"""What a row of the table says, against numbers worked out by hand."""

import json
import math

import pytest
import torch
from torch import Tensor

from npcmeta import evaluate as scoring
from npcmeta.heads import build_head
from npcmeta.types import Action, ActionSpec, Examples, Learner, NamedTasks, Params, Task
from tests import toys

CHOICES = build_head(ActionSpec(0, (3,)))
MOVES = build_head(ActionSpec(1, ()))
THIRDS = math.log(3)


def chosen(rows: list[list[int]], weight: list[list[float]], mask: Tensor | None = None) -> Examples:
    """Examples [T, n] of one branch with three choices."""
    discrete = torch.tensor(rows).unsqueeze(-1)
    shape = discrete.shape[:2]
    mask = torch.ones(*shape, 3, dtype=torch.bool) if mask is None else mask
    return Examples(torch.zeros(*shape, 1), Action(torch.zeros(*shape, 0), discrete), mask, torch.tensor(weight))


def moved(rows: list[list[float]], weight: list[list[float]]) -> Examples:
    """Examples [T, n] of one continuous action."""
    continuous = torch.tensor(rows).unsqueeze(-1)
    shape = continuous.shape[:2]
    action = Action(continuous, torch.zeros(*shape, 0, dtype=torch.int64))
    return Examples(torch.zeros(*shape, 1), action, torch.zeros(*shape, 0, dtype=torch.bool), torch.tensor(weight))


def counting_learner() -> Learner:
    """Its state counts the examples; its logits prefer choice 1 by the logarithm of one more than that."""

    def begin(meta: Params, num_tasks: int, noise: Tensor) -> Params:
        return {"count": noise.sum(-1, keepdim=True)}

    def update(meta: Params, state: Params, examples: Examples) -> Params:
        return {"count": state["count"] + examples.weight.sum(-1, keepdim=True)}

    def predict(meta: Params, state: Params, observation: Tensor) -> Tensor:
        logits = torch.zeros(*observation.shape[:2], 3)
        logits[..., 1] = torch.log1p(state["count"])
        return logits

    unused = toys.small_settings("cnp").build(toys.spec("discrete"))
    return unused._replace(noise_size=1, head=CHOICES, begin=begin, update=update, predict=predict)


def test_nll_and_accuracy_of_choices_are_those_worked_out_by_hand() -> None:
    query = chosen([[0, 1, 2], [1, 1, 1]], [[1, 1, 1], [1, 1, 1]])
    logits = torch.log(torch.tensor([0.5, 0.25, 0.25])).expand(2, 3, 3)
    scores = scoring.judge(CHOICES, logits, query)
    by_hand = [(math.log(2) + 2 * math.log(4)) / 3, math.log(4)]
    assert scores.nll.tolist() == pytest.approx(by_hand)
    assert scores.accuracy.tolist() == pytest.approx([1 / 3, 0.0])
    assert scores.error.isnan().all()


def test_padding_and_weights_count_as_they_should() -> None:
    query = chosen([[0, 1, 2], [0, 1, 1]], [[1, 1, 0], [3, 1, 0]])
    logits = torch.log(torch.tensor([0.5, 0.25, 0.25])).expand(2, 3, 3)
    scores = scoring.judge(CHOICES, logits, query)
    by_hand = [(math.log(2) + math.log(4)) / 2, (3 * math.log(2) + math.log(4)) / 4]
    assert scores.nll.tolist() == pytest.approx(by_hand)
    assert scores.accuracy.tolist() == pytest.approx([1 / 2, 3 / 4])


def test_a_choice_that_was_not_allowed_takes_no_probability() -> None:
    mask = torch.tensor([[[True, True, False]]])
    scores = scoring.judge(CHOICES, torch.zeros(1, 1, 3), chosen([[0]], [[1]], mask))
    assert scores.nll.tolist() == pytest.approx([math.log(2)])


def test_nll_and_error_of_moves_are_those_worked_out_by_hand() -> None:
    mean, raw = 0.5, 0.5  # a log standard deviation of -3 + 4 * sigmoid(0.5)
    log_std = -3 + 4 / (1 + math.exp(-raw))
    params = torch.tensor([mean, raw]).expand(1, 2, 2)
    scores = scoring.judge(MOVES, params, moved([[0.5, 1.0]], [[1, 1]]))
    by_hand = log_std + 0.5 * math.log(2 * math.pi) + 0.5 * (0.5 / math.exp(log_std)) ** 2 / 2
    assert scores.nll.tolist() == pytest.approx([by_hand])
    assert scores.error.tolist() == pytest.approx([0.25 / 2])
    assert scores.accuracy.isnan().all()


def test_evaluate_adapts_each_task_on_its_own_support_set() -> None:
    support = chosen([[0, 0], [0, 0]], [[1, 0], [1, 1]])
    query = chosen([[1], [1]], [[1], [1]])
    scores = scoring.evaluate(counting_learner(), {}, torch.zeros(2, 1), Task(support, query))
    assert scores.nll.tolist() == pytest.approx([-math.log(2 / 4), -math.log(3 / 5)])
    unadapted = scoring.evaluate(counting_learner(), {}, torch.zeros(2, 1), Task(support, query), adapted=False)
    assert unadapted.nll.tolist() == pytest.approx([THIRDS, THIRDS])


def test_evaluate_gives_every_task_its_own_noise_whatever_the_chunks() -> None:
    count = scoring.CHUNK + 3
    noise = torch.arange(float(count)).unsqueeze(-1)
    none, query = chosen([[0]] * count, [[0.0]] * count), chosen([[1]] * count, [[1.0]] * count)
    scores = scoring.evaluate(counting_learner(), {}, noise, Task(none, query))
    assert scores.nll.tolist() == pytest.approx([-math.log((1 + n) / (3 + n)) for n in range(count)])


@pytest.mark.parametrize("learner", ["maml", "cnp", "finetune", "bayes"])
def test_chunks_change_nothing(learner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built = toys.small_settings(learner).build(toys.spec("mixed"))
    meta, task = built.init(torch.Generator().manual_seed(0)), toys.draw_task("mixed", 7, 5)
    whole = scoring.evaluate(built, meta, torch.zeros(7, 0), task)
    monkeypatch.setattr(scoring, "CHUNK", 3)
    for found, expected in zip(scoring.evaluate(built, meta, torch.zeros(7, 0), task), whole, strict=True):
        torch.testing.assert_close(found, expected, equal_nan=True)


def test_support_nll_is_zero_without_examples() -> None:
    examples = chosen([[0, 1], [0, 1]], [[0, 0], [2, 0]])
    found = scoring.support_nll(counting_learner(), {}, {"count": torch.zeros(2, 1)}, examples)
    assert found.tolist() == pytest.approx([0.0, THIRDS])


def test_taking_keeps_every_part_of_the_examples_together() -> None:
    task = toys.draw_task("mixed", 4, 6)
    part = scoring.take_tasks(task, torch.tensor([2, 0]))
    assert torch.equal(part.support.observation, task.support.observation[[2, 0]])
    assert torch.equal(part.query.action.discrete, task.query.action.discrete[[2, 0]])
    steps = scoring.take_steps(task.support, 2)
    assert torch.equal(steps.action.continuous, task.support.action.continuous[:, :2])
    assert torch.equal(steps.action_mask, task.support.action_mask[:, :2])
    assert steps.weight.shape == (4, 2)


def named(ids: tuple[str, ...]) -> NamedTasks:
    return NamedTasks(ids, toys.draw_task("discrete", len(ids), 1))


def test_a_row_is_what_scripts_rely_on() -> None:
    nan = torch.full((3,), math.nan)
    scores = scoring.Scores(
        torch.tensor([0.5, 1.0, 1.5]), torch.tensor([0.0, 0.5, 1.0]), nan, torch.tensor([0.2, 0.3, 0.4])
    )
    row = scoring.row("guard", "maml", 20, named(("ann", "bob", "eve")), scores)
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert row == {
        "archetype": "guard",
        "learner": "maml",
        "shots": 20,
        "tasks": 3,
        "nll": 1.0,
        "accuracy": 0.5,
        "mse": None,
        "nll_ci95": pytest.approx(1.96 * 0.5 / math.sqrt(3)),
        "known": pytest.approx(0.3),
        "per_task": {"ann": 0.5, "bob": 1.0, "eve": 1.5},
    }


def test_an_error_is_in_the_familys_own_units() -> None:
    scores = scoring.Scores(
        torch.zeros(2), torch.full((2,), math.nan), torch.tensor([0.01, 0.03]), torch.full((2,), math.nan)
    )
    row = scoring.row("wave", "maml", 10, named(("a", "b")), scores, unit=5.0)
    assert row["mse"] == pytest.approx(25 * 0.02)
    assert row["accuracy"] is None


def test_one_task_has_no_confidence_interval() -> None:
    scores = scoring.Scores(torch.tensor([0.5]), *torch.tensor([[1.0], [math.nan], [math.nan]]))
    assert scoring.row("guard", "maml", 1, named(("ann",)), scores)["nll_ci95"] is None
