"""From a family to an archetype: settings, normaliser, validation, and the choice of what training did not fix."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Generator

from npcmeta import tasks, training
from npcmeta.archetype import Archetype
from npcmeta.learners import LEARNERS
from npcmeta.learners.finetune import RATES, FinetuneSettings
from npcmeta.learners.maml import MamlSettings
from npcmeta.normalising import standardise
from npcmeta.outer_loop import CheckpointError, Outcome, OuterSettings
from npcmeta.tasks.sinusoid import SinusoidFamily
from npcmeta.types import Normaliser, Task, TaskSplits
from tests import toys

OUTER = OuterSettings(meta_steps=8, meta_batch=4, min_shots=2, max_shots=10, query_shots=10, validations=4)


@pytest.fixture
def splits() -> TaskSplits:
    families = [SinusoidFamily(seed, num_evaluation=6) for seed in (1, 2, 3)]
    return TaskSplits(*families, summary={"split": 0, "test": "six waves"})


def draft(learner: str) -> Archetype:
    settings = training.choose_settings("sinusoid", learner, {"hidden": [16, 16]})
    normaliser = Normaliser((0.0,), (3.0,))
    return Archetype(
        "wave", "sinusoid", learner, settings, SinusoidFamily.spec, normaliser, {}, {"npcmeta": "test"}, {}
    )


def train(learner: str, splits: TaskSplits, path: Path, seed: int = 0) -> tuple[Archetype, list[Outcome]]:
    outcomes: list[Outcome] = []
    archetype = training.train(draft(learner), splits, OUTER, seed, path / f"{learner}.checkpoint", outcomes.append)
    return archetype, outcomes


def test_settings_are_the_learners_then_the_familys_then_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    fitting = {"maml": {"inner_rate": 0.7, "inner_steps": 3}}
    changed = tasks.FAMILIES["sinusoid"]._replace(learner_settings=fitting)
    monkeypatch.setitem(tasks.FAMILIES, "sinusoid", changed)
    chosen = training.choose_settings("sinusoid", "maml", {"inner_steps": 2, "hidden": [8]})
    assert chosen == dataclasses.replace(MamlSettings(), inner_rate=0.7, inner_steps=2, hidden=(8,))


@pytest.mark.parametrize(
    ("family", "learner", "overrides", "message"),
    [
        ("sinusoid", "mamal", {}, 'no learner "mamal"; expected one of: bayes, finetune, maml'),
        ("sinus", "maml", {}, 'no task family "sinus"; expected one of: sinusoid, arena'),
        ("sinusoid", "maml", {"innerrate": 1}, r"maml has no setting \['innerrate'\]; expected some of .*inner_rate"),
        ("sinusoid", "maml", {"inner_steps": 0}, "setting inner_steps is 0, expected a whole number from 1"),
        ("sinusoid", "maml", {"added_inputs": -1}, "setting added_inputs is -1, expected a whole number from 0"),
        ("sinusoid", "maml", {"added_inputs": False}, "setting added_inputs is False, expected a whole number from 0"),
        ("sinusoid", "maml", {"inner_steps": 1.5}, "setting inner_steps is 1.5, expected a whole number"),
        ("sinusoid", "maml", {"inner_rate": "fast"}, "setting inner_rate is 'fast', expected 0 or a number"),
        ("sinusoid", "maml", {"hidden": 64}, "setting hidden is 64, expected at most 8 whole numbers"),
        ("sinusoid", "maml", {"activation": "gelu"}, "setting activation is 'gelu', expected one of: relu, tanh"),
        ("sinusoid", "maml", {"first_order": 1}, "setting first_order is 1, expected a value of type bool"),
    ],
)
def test_a_setting_that_cannot_be_says_what_can(family: str, learner: str, overrides: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        training.choose_settings(family, learner, overrides)


def test_a_whole_number_may_be_zero_where_that_is_its_default() -> None:
    for value in (0, 3):
        assert training.choose_settings("sinusoid", "maml", {"added_inputs": value}) == dataclasses.replace(
            training.choose_settings("sinusoid", "maml", {}),  # type: ignore[type-var]
            added_inputs=value,
        )


def test_every_family_has_settings_that_its_learners_take() -> None:
    for name, family in tasks.FAMILIES.items():
        assert family.learner in LEARNERS
        outer = training.choose_outer(name, meta_steps=None, minutes=None)
        assert 0 < outer.min_shots <= outer.max_shots
        for learner in LEARNERS:
            training.choose_settings(name, learner, {})


def test_the_budget_is_the_familys_unless_asked_for() -> None:
    assert training.choose_outer("sinusoid", meta_steps=7, minutes=None).meta_steps == 7
    usual = training.choose_outer("sinusoid", meta_steps=None, minutes=None)
    assert usual.meta_steps == tasks.FAMILIES["sinusoid"].outer["meta_steps"]
    timed = training.choose_outer("sinusoid", meta_steps=None, minutes=2.0)
    assert timed.minutes == 2.0
    assert timed.meta_steps > 1_000_000


class ShiftedFamily(toys.ToyFamily):
    """Observations of known mean and spread; the last is a constant, and padding holds nonsense."""

    def sample(self, generator: Generator, num_tasks: int, *, shots: int, query_shots: int) -> Task:
        task = super().sample(generator, num_tasks, shots=shots, query_shots=query_shots)
        seen = task.support.observation * torch.tensor([2.0, 1.0, 0.0]) + torch.tensor([5.0, 0.0, -1.0])
        weight = torch.ones(num_tasks, shots)
        weight[:, -1] = 0
        seen[:, -1] = 1e6
        return task._replace(support=task.support._replace(observation=seen, weight=weight))


def test_normaliser_is_the_mean_and_deviation_of_what_has_weight() -> None:
    found = training.measure_normaliser(ShiftedFamily("mixed"), Generator().manual_seed(0), 200)
    assert found.mean == pytest.approx((5.0, 0.0, -1.0), abs=0.1)
    assert found.std[:2] == pytest.approx((2.0, 1.0), rel=0.05)
    assert found.std[2] == pytest.approx(0.1)  # not 0: what never changed in training may change in play


def test_a_large_number_that_never_changes_becomes_zero() -> None:
    class Numbered(toys.ToyFamily):
        def sample(self, generator: Generator, num_tasks: int, *, shots: int, query_shots: int) -> Task:
            task = super().sample(generator, num_tasks, shots=shots, query_shots=query_shots)
            return task._replace(support=task.support._replace(observation=task.support.observation * 0 + 123456789))

    found = training.measure_normaliser(Numbered("mixed"), Generator().manual_seed(0), 200)
    assert standardise(torch.full((1, 3), 123456789.0), found).tolist() == [[0.0] * 3]
    assert found.std == pytest.approx((0.1,) * 3)


def test_small_numbers_are_seen_and_a_rare_switch_stays_small() -> None:
    class Small(toys.ToyFamily):
        def sample(self, generator: Generator, num_tasks: int, *, shots: int, query_shots: int) -> Task:
            task = super().sample(generator, num_tasks, shots=shots, query_shots=query_shots)
            normal, on = task.support.observation[..., 0], task.support.observation[..., 1] > 2.8
            columns = torch.stack([normal * 1e-3, 1e-3 * on.float(), on.float()], -1)
            return task._replace(support=task.support._replace(observation=columns))

    found = training.measure_normaliser(Small("mixed"), Generator().manual_seed(0), 200)
    seen = standardise(torch.tensor([[1e-3, 1e-3, 1.0]]), found)[0].tolist()
    assert 0.5 < seen[0] < 1.5
    assert seen[1] == pytest.approx(6.0, abs=0.1)
    assert seen[2] == pytest.approx(10.0, abs=0.1)


@pytest.mark.parametrize("learner", ["maml", "cnp"])
def test_training_gives_an_archetype_that_knows_how_it_was_made(
    splits: TaskSplits, tmp_path: Path, learner: str
) -> None:
    archetype, outcomes = train(learner, splits, tmp_path)
    assert [outcome.step for outcome in outcomes] == list(range(1, 9))
    assert archetype.settings == draft(learner).settings
    assert archetype.provenance["npcmeta"] == "test"
    assert archetype.provenance["seed"] == 0
    assert archetype.provenance["outer"] == dataclasses.asdict(OUTER)
    assert archetype.provenance["validation_shots"] == list(tasks.FAMILIES["sinusoid"].validation_shots)
    assert archetype.provenance["best_validation_nll"] == min(nll for _, nll in archetype.provenance["history"])
    assert [step for step, _ in archetype.provenance["history"]] == [2, 4, 6, 8]


def test_training_that_is_stopped_keeps_its_last_step(splits: TaskSplits, tmp_path: Path) -> None:
    def stop_at_five(outcome: Outcome) -> None:
        if outcome.step == 5:
            raise training.Stopped

    with pytest.raises(training.Stopped):
        training.train(draft("maml"), splits, OUTER, 0, tmp_path / "maml.checkpoint", stop_at_five)
    assert [outcome.step for outcome in train("maml", splits, tmp_path)[1]] == [6, 7, 8]


def test_training_that_was_cut_off_goes_on_from_its_checkpoint(splits: TaskSplits, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    (tmp_path / "whole").mkdir()
    whole, _ = train("maml", splits, tmp_path / "whole")
    seen: list[Outcome] = []

    def stop_at_five(outcome: Outcome) -> None:
        seen.append(outcome)
        if outcome.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(draft("maml"), splits, OUTER, 0, tmp_path / "maml.checkpoint", stop_at_five)
    resumed, rest = train("maml", splits, tmp_path)
    assert [outcome.step for outcome in rest] == [5, 6, 7, 8]  # the fifth was not saved yet
    toys.assert_same_bits(resumed.meta, whole.meta)
    assert resumed.provenance == whole.provenance


def test_a_finished_checkpoint_is_kept_until_the_archetype_is_safe(splits: TaskSplits, tmp_path: Path) -> None:
    first, _ = train("finetune", splits, tmp_path)
    again, outcomes = train("finetune", splits, tmp_path)
    assert outcomes == []
    toys.assert_same_bits(again.meta, first.meta)
    assert again._replace(meta={}) == first._replace(meta={})


def test_a_checkpoint_of_another_learner_is_refused(splits: TaskSplits, tmp_path: Path) -> None:
    train("maml", splits, tmp_path)
    (tmp_path / "maml.checkpoint").rename(tmp_path / "fomaml.checkpoint")
    with pytest.raises(
        CheckpointError, match=r'learner is "maml" there, "fomaml" here, learner settings\.first_order is false there'
    ):
        train("fomaml", splits, tmp_path)


def test_the_baseline_is_validated_as_the_average_policy_it_is(splits: TaskSplits) -> None:
    """Choosing its checkpoint after adapting would favour weights that fine-tune well over those that play well."""
    assert training.validation_shots(draft("finetune")) == (0,)
    assert training.validation_shots(draft("maml")) == tasks.FAMILIES["sinusoid"].validation_shots
    settings = draft("finetune").settings
    learner = settings.build(SinusoidFamily.spec)
    meta = learner.init(Generator().manual_seed(0))
    validate = training.validator(learner, splits.validation, (0,))
    query = splits.validation.evaluation(5).task.query
    params = learner.predict(meta, learner.begin(meta, 6, torch.zeros(6, 0)), query.observation)
    assert validate(meta) == pytest.approx(float(learner.head.nll(params, query.action, query.action_mask).mean()))


def test_validation_averages_over_the_numbers_of_shots(splits: TaskSplits) -> None:
    learner = draft("maml").settings.build(SinusoidFamily.spec)
    meta = learner.init(Generator().manual_seed(0))
    one, ten, both = (training.validator(learner, splits.validation, shots)(meta) for shots in ((1,), (10,), (1, 10)))
    assert both == pytest.approx((one + ten) / 2)
    assert one != ten


def test_validation_takes_the_characters_there_are_when_all_are_too_short(splits: TaskSplits) -> None:
    class Short(SinusoidFamily):
        def evaluation(self, shots):  # type: ignore[no-untyped-def]
            named = super().evaluation(shots)
            return named._replace(ids=()) if shots else named

    learner = draft("maml").settings.build(SinusoidFamily.spec)
    meta = learner.init(Generator().manual_seed(0))
    expected = training.validator(learner, SinusoidFamily(2, 6), (0,))(meta)
    assert training.validator(learner, Short(2, 6), (5, 10))(meta) == expected


def test_the_inner_rate_of_the_baseline_is_the_best_on_validation_tasks(splits: TaskSplits, tmp_path: Path) -> None:
    archetype, _ = train("finetune", splits, tmp_path)
    chosen = archetype.settings
    assert isinstance(chosen, FinetuneSettings)

    def nll(rate: float) -> float:
        learner = training.normalised(
            dataclasses.replace(chosen, inner_rate=rate).build(archetype.spec), archetype.normaliser
        )
        shots = tasks.FAMILIES["sinusoid"].validation_shots
        return training.validator(learner, splits.validation, shots)(archetype.meta)

    assert chosen.inner_rate == min(RATES, key=nll)
