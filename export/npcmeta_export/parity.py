"""The parity check: no asset is written whose onnxruntime outputs differ from torch's."""

from __future__ import annotations

import math

import numpy as np
import torch
from onnxruntime import InferenceSession
from torch import Generator, Tensor

from npcmeta_export.engine import NOISE, SCORES, Engine, Inputs, Policy, example_state
from npcmeta_export.graph import Function

TOLERANCE = 1e-5
"""Largest difference of a float output, relative where its size is above 1."""
TIE = 1e-4
"""Discrete actions may differ only where the two best choices are closer than this."""
BATCHES = (1, 257)
DRAWS = 20_000
"""Rows that noise is judged on."""
DEVIATIONS = 7.0
"""How many standard errors a statistic of noise may be off: by chance, less than once in 10^11 times."""


class ParityError(RuntimeError):
    """onnxruntime computes something else than torch."""


def check(
    session: InferenceSession, function: Function, inputs: Inputs, branches: tuple[int, ...], limit: float | None = None
) -> None:
    """Compares what a session and the function that it was traced from make of the same inputs.

    Raises:
        ParityError: If a number differs by more than the limit, or a choice where there was no tie.
    """
    found = run(session, inputs)
    with torch.no_grad():
        expected = {name: value.numpy() for name, value in function(inputs).items()}
    rows = len(next(iter(inputs.values())))
    numbers = {name: expected[name] for name in found if name + SCORES not in expected}
    compare_numbers(found, numbers, rows, TOLERANCE if limit is None else limit)
    for name in found:
        if name + SCORES in expected:
            _compare_choices(name, found[name], expected, branches)


def run(session: InferenceSession, inputs: Inputs) -> dict[str, np.ndarray]:
    """The session's outputs by name; inputs that it does not have are left out, as what nobody reads is no input."""
    fed = {value.name: inputs[value.name].numpy() for value in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, fed), strict=True))


def compare_numbers(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], rows: int, limit: float) -> None:
    """Raises ParityError where a number differs by more than the limit, relative where its size is above 1."""
    for name, value in expected.items():
        if found[name].shape != value.shape:
            raise ParityError(f"{name}: onnxruntime gives shape {found[name].shape}, torch {value.shape}")
        worst = float((np.abs(found[name] - value) / np.maximum(1.0, np.abs(value))).max(initial=0.0))
        if not worst <= limit:
            raise ParityError(
                f"{name}: onnxruntime differs from torch by {worst:.2e} with {rows} rows, expected at most {limit:.0e}"
            )


def picked(recorded: Tensor | None, rows: int) -> list[Tensor]:
    """So many recorded observations, evenly spread and repeated if there are fewer; none if there are none."""
    if recorded is None or not len(recorded):
        return []
    return [recorded[torch.linspace(0, len(recorded) - 1, rows).round().long()]]


def check_noise(session: InferenceSession, policy: Policy, engine: Engine) -> None:
    """Judges by distribution the noise that a graph draws for many rows with the same observation and state.

    Raises:
        ParityError: If it is not standard normal and standard Gumbel, or rows share it, or runs do.
    """
    one = engine.example(policy, 1, Generator().manual_seed(0))
    given = [entry.name for entry in session.get_inputs()]
    states = engine.pack(example_state(policy, 1, Generator().manual_seed(0)))
    fed = {name: value.expand(DRAWS, *value.shape[1:]).numpy() for name, value in (one | states).items()}
    first, second = (session.run([NOISE], {name: fed[name] for name in given})[0] for _ in range(2))
    continuous, size = policy.action.continuous_size, len(first)
    expected_mean = np.where(np.arange(first.shape[1]) < continuous, 0.0, np.euler_gamma)
    expected_std = np.where(np.arange(first.shape[1]) < continuous, 1.0, math.pi / math.sqrt(6))
    standard = (first - expected_mean) / expected_std
    again = (second - expected_mean) / expected_std
    # The fourth moment of a standard Gumbel distribution is 5.4, and that of its square less than 13.
    statistics = {
        "mean": (standard.mean(0), 1.0),
        "variance": ((standard**2).mean(0) - 1, math.sqrt(4.4)),
        "correlation of neighbours": ((standard[1:] * standard[:-1]).mean(0), 1.0),
        "correlation of columns": ((standard * np.roll(standard, 1, 1)).mean(0) if standard.shape[1] > 1 else 0.0, 1.0),
        "correlation of runs": ((standard * again).mean(0), 1.0),
    }
    for name, (value, error) in statistics.items():
        worst = float(np.abs(value).max())
        if not worst <= DEVIATIONS * error / math.sqrt(size):
            raise ParityError(f"noise: its {name} is off by {worst:.3f} over {size} rows")


def _compare_choices(name: str, ours: np.ndarray, expected: dict[str, np.ndarray], branches: tuple[int, ...]) -> None:
    """Choices may differ only where the scores of the two are nearly equal."""
    theirs, scores = expected[name], expected[name + SCORES]
    offsets = np.cumsum((0, *branches[:-1]))
    for row, branch in np.argwhere(ours != theirs):
        pair = ours[row, branch], theirs[row, branch]
        gap = abs(float(np.diff([scores[row, offsets[branch] + choice] for choice in pair])[0]))
        if not gap <= TIE:
            raise ParityError(
                f"{name}: onnxruntime chose {pair[0]}, torch {pair[1]} in branch {branch} with {len(ours)} rows, "
                f"where the logits differ by {gap:.1e}; expected the same choice"
            )
