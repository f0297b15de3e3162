"""Small characters to test with: what each does is a linear map of what it sees, leaning its own way."""

import dataclasses

import torch
from torch import Generator, Tensor

from npcmeta import learners
from npcmeta.learners import Settings
from npcmeta.types import Action, ActionSpec, BehaviorSpec, Examples, Params, Task

OBSERVATION, TRAITS = 3, 2
ACTIONS = {
    "continuous": ActionSpec(2, ()),
    "discrete": ActionSpec(0, (3, 2)),
    "mixed": ActionSpec(2, (3, 2)),
}
VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "bayes-context": ("bayes", {"context": 4, "inner_steps": 3}),
    "bayes-tuned": ("bayes", {"tuned": 1}),
}
"""Learners that are two in one, by settings."""
DISCRETE_ONLY = ("protonet",)
"""Learners that refuse continuous actions."""
SMALL: dict[str, object] = {
    "hidden": (12,), "encoder": (12,), "code": 6, "latent": 4, "directions": 4, "embedding": 6, "capacity": 160,
    "dropout": 0.0, "feature_dropout": 0.0, "feature_layer": 8, "members": 2,
}  # fmt: skip
"""Applied to whichever of these settings a learner has."""


def spec(kind: str) -> BehaviorSpec:
    return BehaviorSpec(OBSERVATION, ACTIONS[kind], 10.0)


def kinds(learner: str) -> list[str]:
    """The kinds of actions that a learner can decide."""
    return ["discrete"] if learner in DISCRETE_ONLY else list(ACTIONS)


def cases() -> list[tuple[str, str]]:
    """Every learner with every kind of actions that it can decide."""
    return [(learner, kind) for learner in (*learners.LEARNERS, *VARIANTS) for kind in kinds(learner)]


def small_settings(learner: str, **changes: object) -> Settings:
    """The learner's own settings, with small networks and with those of `changes` that it has."""
    learner, own = VARIANTS.get(learner, (learner, {}))
    settings = learners.settings_type(learner)()
    fields = {field.name for field in dataclasses.fields(settings)}  # type: ignore[arg-type]
    wanted = {key: value for key, value in (SMALL | changes | own).items() if key in fields}
    return dataclasses.replace(settings, **wanted)  # type: ignore[type-var, arg-type]


class ToyFamily:
    """Characters that share a map and differ in how they lean; some choices are masked, never all."""

    def __init__(self, kind: str) -> None:
        self.spec = spec(kind)
        self._columns = self.spec.action.continuous_size + self.spec.action.mask_size
        generator = Generator().manual_seed(7)
        self._shared = torch.randn(OBSERVATION, self._columns, generator=generator)
        self._lean_by_trait = torch.randn(TRAITS, self._columns, generator=generator)

    def sample(self, generator: Generator, num_tasks: int, *, shots: int, query_shots: int) -> Task:
        lean = torch.randn(num_tasks, 1, TRAITS, generator=generator) @ self._lean_by_trait
        return Task(self._examples(generator, lean, shots), self._examples(generator, lean, query_shots))

    def _examples(self, generator: Generator, lean: Tensor, count: int) -> Examples:
        action, rows = self.spec.action, (lean.shape[0], count)
        observation = torch.randn(*rows, OBSERVATION, generator=generator)
        wanted = 0.5 * observation @ self._shared + lean
        mask = draw_mask(generator, rows, action)
        scores = wanted[..., action.continuous_size :].masked_fill(~mask, -torch.inf)
        picks = [part.argmax(-1) for part in scores.split(action.branch_sizes, -1)] if action.branch_sizes else []
        discrete = torch.stack(picks, -1) if picks else torch.zeros(*rows, 0, dtype=torch.int64)
        continuous = 0.9 * torch.tanh(wanted[..., : action.continuous_size])
        return Examples(observation, Action(continuous, discrete), mask, torch.ones(rows))


def draw_mask(generator: Generator, rows: tuple[int, ...], action: ActionSpec) -> Tensor:
    """Masks [.., W] that forbid a quarter of the choices, but never the last one of a branch."""
    parts = []
    for size in action.branch_sizes:
        part = torch.rand(*rows, size, generator=generator) > 0.25
        part[..., -1] = True
        parts.append(part)
    return torch.cat(parts, -1) if parts else torch.zeros(*rows, 0, dtype=torch.bool)


def draw_task(kind: str, num_tasks: int, shots: int, *, query_shots: int = 20, seed: int = 0) -> Task:
    return ToyFamily(kind).sample(Generator().manual_seed(seed), num_tasks, shots=shots, query_shots=query_shots)


def join(first: Examples, second: Examples) -> Examples:
    """Both sets of examples as one, along the examples' axis."""
    action = Action(*(torch.cat(pair, 1) for pair in zip(first.action, second.action, strict=True)))
    return Examples(
        torch.cat([first.observation, second.observation], 1),
        action,
        torch.cat([first.action_mask, second.action_mask], 1),
        torch.cat([first.weight, second.weight], 1),
    )


def double(examples: Examples) -> Examples:
    """The same examples in float64."""
    action = Action(examples.action.continuous.double(), examples.action.discrete)
    return Examples(examples.observation.double(), action, examples.action_mask, examples.weight.double())


def double_task(task: Task) -> Task:
    return Task(double(task.support), double(task.query))


def double_params(params: Params) -> Params:
    return {key: value.double() for key, value in params.items()}


def assert_same_bits(found: Params, expected: Params) -> None:
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype, key
        assert found[key].shape == value.shape, key
        assert found[key].detach().contiguous().numpy().tobytes() == value.detach().contiguous().numpy().tobytes(), key


def assert_close(found: Params, expected: Params, tolerance: float) -> None:
    assert set(found) == set(expected)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=tolerance, atol=tolerance)
