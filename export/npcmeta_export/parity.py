"""The parity check: no asset is written whose onnxruntime outputs differ from torch's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from onnxruntime import InferenceSession
from torch import Generator, Tensor

from npcmeta.types import ActionSpec
from npcmeta_export.graph import Function
from npcmeta_export.runtime import load_session

TOLERANCE = 1e-5
"""Largest difference of a float output, relative where its size is above 1."""
TIE = 1e-4
"""Discrete actions may differ only where the two best choices are closer than this."""
BATCHES = (1, 257)

Example = Callable[[int, Generator], dict[str, Tensor]]
"""Random inputs of so many rows."""


class ParityError(RuntimeError):
    """onnxruntime computes something else than torch."""


def check(model: bytes, function: Function, example: Example, action: ActionSpec, tolerance: float = TOLERANCE) -> None:
    """Runs the model and the function it was traced from on the same random inputs, one row and many.

    Raises:
        ParityError: If an output differs by more than the tolerance, or an action where there was no tie.
    """
    session = load_session(model)
    for rows in BATCHES:
        inputs = example(rows, Generator().manual_seed(rows))
        found = run(session, inputs)
        with torch.no_grad():
            expected = {name: value.numpy() for name, value in function(inputs).items() if name in found}
        compare_numbers(found, expected, rows, tolerance)
        if "discrete_actions" in expected:
            _compare_choices(found, expected, inputs, action, rows)


def run(session: InferenceSession, inputs: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """The session's outputs by name; inputs that it does not have are left out, as what nobody reads is no input."""
    fed = {value.name: inputs[value.name].numpy() for value in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, fed), strict=True))


def compare_numbers(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], rows: int, limit: float) -> None:
    """Raises ParityError where a number differs by more than the limit, relative where its size is above 1."""
    for name, value in expected.items():
        if found[name].shape != value.shape:
            raise ParityError(f"{name}: onnxruntime gives shape {found[name].shape}, torch {value.shape}")
        if name == "discrete_actions":
            continue
        worst = float((np.abs(found[name] - value) / np.maximum(1.0, np.abs(value))).max(initial=0.0))
        if not worst <= limit:
            raise ParityError(
                f"{name}: onnxruntime differs from torch by {worst:.2e} with {rows} rows, expected at most {limit:.0e}"
            )


def _compare_choices(
    found: dict[str, np.ndarray],
    expected: dict[str, np.ndarray],
    inputs: dict[str, Tensor],
    action: ActionSpec,
    rows: int,
) -> None:
    """Choices may differ only where the masked logits of the two, with their noise, are nearly equal."""
    logits = (
        expected["head_params"][:, 2 * action.continuous_size :] + inputs["noise"].numpy()[:, action.continuous_size :]
    )
    logits = np.where(inputs["action_mask"].numpy(), logits, -np.inf)
    ours, theirs = found["discrete_actions"], expected["discrete_actions"]
    offsets = np.cumsum((0, *action.branch_sizes[:-1]))
    for row, branch in np.argwhere(ours != theirs):
        pair = ours[row, branch], theirs[row, branch]
        gap = abs(float(np.diff([logits[row, offsets[branch] + choice] for choice in pair])[0]))
        if not gap <= TIE:
            raise ParityError(
                f"discrete_actions: onnxruntime chose {pair[0]}, torch {pair[1]} in branch {branch} with {rows} rows, "
                f"where the logits differ by {gap:.1e}; expected the same choice"
            )
