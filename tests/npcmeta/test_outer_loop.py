"""The outer loop: reproducible to the bit, resumable to the bit, and plain about what went wrong."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Generator

from npcmeta.evaluate import evaluate
from npcmeta.optimizers import Optimizer
from npcmeta.outer_loop import CheckpointError, Outcome, OuterLoop, OuterSettings
from npcmeta.types import Learner, Params, Task
from tests import toys

KIND = "mixed"
SETTINGS = OuterSettings(meta_steps=12, meta_batch=4, max_shots=8, query_shots=6, validations=4)
IDENTITY = {"learner": "finetune", "split": {"test": ["bob"]}}


def small_learner(name: str = "finetune", **changes: object) -> Learner:
    return toys.small_settings(name, **changes).build(toys.spec(KIND))


def make_loop(
    settings: OuterSettings = SETTINGS, *, seed: int = 0, learner: Learner | None = None,
    validate: Callable[[Params], float] | None = None,
) -> OuterLoop:  # fmt: skip
    learner = learner or small_learner(dropout=0.2)
    task = toys.draw_task(KIND, 3, 5, seed=99)

    def mean_nll(meta: Params) -> float:
        return float(evaluate(learner, meta, torch.zeros(3, learner.noise_size), task).nll.mean())

    return OuterLoop(learner, toys.ToyFamily(KIND), validate or mean_nll, settings, seed)


def run(loop: OuterLoop) -> list[Outcome]:
    outcomes = []
    while not loop.finished:
        outcomes.append(loop.advance())
    return outcomes


def measured(outcomes: list[Outcome]) -> list[tuple[int, float, float | None, float]]:
    """What does not depend on the clock."""
    return [(o.step, o.loss, o.validation, o.best) for o in outcomes]


@pytest.mark.parametrize("name", ["finetune", "maml", "cnp"])
def test_the_same_seed_gives_the_same_weights_to_the_bit(name: str) -> None:
    first, again, other = (make_loop(seed=seed, learner=small_learner(name, dropout=0.2)) for seed in (0, 0, 1))
    assert measured(run(first)) == measured(run(again))
    run(other)
    toys.assert_same_bits(first.best, again.best)
    assert any(not torch.equal(first.best[key], other.best[key]) for key in first.best)


@pytest.mark.parametrize("stopped_at", [1, 5, 12])
@pytest.mark.parametrize("optimizer", get_args(Optimizer))
def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path: Path, stopped_at: int, optimizer: Optimizer) -> None:
    settings = dataclasses.replace(SETTINGS, optimizer=optimizer)
    whole = make_loop(settings)
    expected = measured(run(whole))
    begun = make_loop(settings)
    seen = [begun.advance() for _ in range(stopped_at)]
    begun.save(tmp_path / "run.checkpoint", IDENTITY)
    resumed = make_loop(settings)
    resumed.resume(tmp_path / "run.checkpoint", IDENTITY)
    assert measured(seen + run(resumed)) == expected
    toys.assert_same_bits(resumed.best, whole.best)
    assert resumed.history == whole.history
    assert resumed.best_validation == whole.best_validation


def test_saving_does_not_disturb_a_run(tmp_path: Path) -> None:
    plain, saved = make_loop(), make_loop()
    while not saved.finished:
        saved.advance()
        saved.save(tmp_path / "run.checkpoint", IDENTITY)
    run(plain)
    toys.assert_same_bits(saved.best, plain.best)
    assert [path.name for path in tmp_path.iterdir()] == ["run.checkpoint"]


def test_training_lowers_the_held_out_nll() -> None:
    loop = make_loop(OuterSettings(meta_steps=120, meta_batch=8, max_shots=8, query_shots=20, rate=1e-2))
    run(loop)
    assert loop.best_validation < loop.history[0][1] - 0.1


def test_the_best_weights_are_kept_whatever_comes_later() -> None:
    kept: list[Params] = []
    answers = iter([3.0, 1.0, 2.0, math.nan])

    def validate(meta: Params) -> float:
        kept.append({key: value.clone() for key, value in meta.items()})
        return next(answers)

    loop = make_loop(validate=validate)
    run(loop)
    assert [step for step, _ in loop.history] == [3, 6, 9, 12]
    assert loop.best_validation == 1.0
    toys.assert_same_bits(loop.best, kept[1])
    assert any(not torch.equal(kept[3][key], kept[1][key]) for key in loop.best)


def test_what_is_validated_is_an_average_that_follows_the_weights() -> None:
    seen: list[Params] = []

    def validate(meta: Params) -> float:
        seen.append({key: value.clone() for key, value in meta.items()})
        return 0.0

    one_step = OuterSettings(meta_steps=1, meta_batch=4, max_shots=8, query_shots=6, weight_decay=0.0)
    run(make_loop(one_step, validate=validate))
    start = small_learner().init(Generator().manual_seed(0))
    moved = max(float((seen[0][key] - start[key]).abs().max()) for key in start)
    # Adam's first step is `rate` for every weight; at its first step the average keeps a tenth of what it was.
    assert moved == pytest.approx(0.9 * one_step.rate, rel=1e-3)


def test_the_step_size_falls_to_zero_over_the_second_half() -> None:
    loop = make_loop(dataclasses.replace(SETTINGS, rate=1.0))
    rates = []
    for _ in range(12):
        loop.advance()
        rates.append(loop._optimizers[0].param_groups[0]["lr"])
    assert rates[:7] == [1.0] * 7
    assert rates[7:] == pytest.approx([(12 - step) / 6 for step in range(7, 12)], abs=2e-3)


def test_no_meta_gradient_is_longer_than_the_clip() -> None:
    norms = {}
    for clip in (1e-3, 1e3):
        loop = make_loop(dataclasses.replace(SETTINGS, clip=clip))
        loop.advance()
        slopes = [value.grad for value in loop._meta.values() if value.grad is not None]
        norms[clip] = float(torch.cat([slope.flatten() for slope in slopes]).norm())
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-3)
    assert norms[1e3] > 0.01


def test_training_tasks_have_from_the_fewest_to_the_most_shots_and_few_of_them_more_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    sample = toys.ToyFamily.sample

    def counted(family: toys.ToyFamily, generator: Generator, num_tasks: int, *, shots: int, query_shots: int) -> Task:
        seen.append(shots)
        return sample(family, generator, num_tasks, shots=shots, query_shots=query_shots)

    monkeypatch.setattr(toys.ToyFamily, "sample", counted)
    run(make_loop(dataclasses.replace(SETTINGS, meta_steps=200, meta_batch=1, min_shots=2, max_shots=9)))
    assert (min(seen), max(seen)) == (2, 9)
    assert sum(shots <= 4 for shots in seen) > 80  # half of them: 4.2 is the middle of the logarithm


def test_a_budget_of_minutes_ends_the_run_and_is_validated_at_its_end() -> None:
    settings = OuterSettings(
        meta_steps=10_000_000, minutes=0.3 / 60, meta_batch=2, max_shots=4, query_shots=4, validations=3
    )
    loop = make_loop(settings)
    outcomes = run(loop)
    assert 1 < len(outcomes) < 10_000
    assert outcomes[-1].fraction == 1.0
    assert outcomes[-1].validation is not None
    assert [o.fraction for o in outcomes] == sorted(o.fraction for o in outcomes)
    assert outcomes[0].seconds_left < 60


def test_a_loss_that_is_not_a_number_ends_the_run_with_advice() -> None:
    learner = small_learner()

    def broken(meta: Params, *rest: object) -> tuple[torch.Tensor, dict[str, float]]:
        return meta["0.weight"].sum() * math.nan, {}

    with pytest.raises(FloatingPointError, match=r"outer step 1 the meta-loss is nan.*smaller inner_rate"):
        make_loop(learner=learner._replace(meta_loss=broken)).advance()


def test_a_gradient_that_is_not_a_number_ends_the_run_before_it_reaches_the_weights() -> None:
    learner = small_learner()

    def broken(meta: Params, *rest: object) -> tuple[torch.Tensor, dict[str, float]]:
        return (meta["0.bias"] * 0).sqrt().sum(), {}  # 0, and its slope is 0 * infinity

    loop = make_loop(learner=learner._replace(meta_loss=broken))
    with pytest.raises(FloatingPointError, match="norm of its gradient nan"):
        loop.advance()
    assert all(value.isfinite().all() for value in loop.best.values())


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"settings": OuterSettings(meta_steps=13)}, "settings.meta_steps is 12 there, 13 here.*"),
        ({"seed": 5}, "seed is 0 there, 5 here"),
        ({"identity": IDENTITY | {"learner": "maml"}}, 'learner is ".+" there, "maml" here'),
        ({"identity": IDENTITY | {"split": {"test": ["eve"]}}}, 'split.test is .+ there, ."eve". here'),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, changed: dict[str, object], named: str) -> None:
    loop = make_loop()
    loop.advance()
    loop.save(tmp_path / "run.checkpoint", IDENTITY)
    identity = changed.pop("identity", IDENTITY)
    with pytest.raises(CheckpointError, match=f"written by another run: .*{named}; repeat that command"):
        make_loop(**changed).resume(tmp_path / "run.checkpoint", identity)  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "no metadata", "no tensors", "other shapes", "not a table"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "run.checkpoint"
    loop = make_loop()
    loop.advance()
    loop.save(path, IDENTITY)
    spoil(path, damage)
    with pytest.raises(CheckpointError, match=r"run\.checkpoint: not an intact checkpoint .*delete it to begin anew"):
        make_loop().resume(path, IDENTITY)


def spoil(path: Path, damage: str) -> None:
    data = path.read_bytes()
    with safe_open(path, "pt") as file:
        described = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if damage in ("cut", "empty", "text"):
        path.write_bytes({"cut": data[:-10], "empty": b"", "text": b"not a checkpoint at all"}[damage])
    elif damage == "no metadata":
        save_file(tensors, path)
    elif damage == "no tensors":
        save_file({"generator": tensors["generator"]}, path, described)
    elif damage == "other shapes":
        save_file({key: value.flatten()[:1] for key, value in tensors.items()}, path, described)
    else:
        save_file(tensors, path, {"npcmeta": json.dumps(["npcmeta"])})


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.checkpoint"):
        make_loop().resume(tmp_path / "nowhere.checkpoint", IDENTITY)
