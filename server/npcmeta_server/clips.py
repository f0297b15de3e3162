"""Examples: read from the wire and checked against a spec, kept as bytes, joined for adapting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from npcmeta.types import Action, BehaviorSpec, Examples
from npcmeta_server import tensors
from npcmeta_server.errors import ServiceError
from npcmeta_server.gen.npcmeta.v1 import tensor_pb2
from npcmeta_server.limits import MAX_EXAMPLES, MAX_WEIGHT


class Clip(NamedTuple):
    """n consecutive examples of one character, as arrays."""

    observations: np.ndarray  # [n, O] float32
    continuous_actions: np.ndarray  # [n, C] float32
    discrete_actions: np.ndarray  # [n, B] int64
    action_mask: np.ndarray  # [n, W] bool
    weights: np.ndarray  # [n] float32

    @property
    def examples(self) -> int:
        """How many examples, n."""
        return len(self.weights)

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(array.nbytes for array in self)


def read(message: tensor_pb2.Examples, spec: BehaviorSpec, archetype: str) -> Clip:
    """Reads and checks examples.

    Raises:
        ServiceError: INVALID_TENSOR or TOO_MANY, naming the row and what was expected.
    """
    seen = tensors.observations(message.observations, spec, archetype)
    rows = len(seen)
    if not rows:
        raise ServiceError("INVALID_TENSOR", "observations have no rows, expected at least one", field="observations")
    check_total(rows)
    mask = message.action_mask if message.HasField("action_mask") else None
    return _checked(
        Clip(
            seen,
            _continuous(message, spec, rows),
            _discrete(message, spec, rows),
            tensors.action_mask(mask, spec, rows),
            _weights(message, rows),
        ),
        spec,
    )


def announced(message: tensor_pb2.Examples) -> int:
    """Bytes of observations that examples say they bring; to be believed once they are read."""
    return 4 * math.prod(message.observations.shape)


def of_arrays(arrays: Mapping[str, np.ndarray], spec: BehaviorSpec) -> Clip:
    """Checks arrays of the types of a clip, whose numbers are finite, as `read` does; without a copy of them.

    Raises:
        ServiceError: INVALID_TENSOR or TOO_MANY, naming the row and what was expected.
    """
    rows = len(seen) if (seen := arrays.get("observations")) is not None and seen.ndim else 0
    if not rows:
        raise _wrong("observations", "are missing, or have no rows", 0)
    check_total(rows)
    empty = {
        field: np.zeros((rows, *array.shape[1:]), array.dtype) for field, array in join([], spec)._asdict().items()
    }
    absent = {field: array for field, array in empty.items() if not array.size}
    absent |= {"action_mask": np.ones((rows, spec.action.mask_size), bool), "weights": np.ones(rows, np.float32)}
    whole = {**absent, **arrays}
    for field, array in empty.items():
        if field not in whole or whole[field].shape != array.shape:
            found = list(whole[field].shape) if field in whole else "missing"
            raise _wrong(field, f"are {found}, expected {list(array.shape)}", 0)
    tensors.check_mask(whole["action_mask"], spec)
    return _checked(Clip(**whole), spec)


def weighted(clip: Clip, weight: float) -> Clip:
    """A clip whose examples count `weight` times as much.

    Raises:
        ServiceError: INVALID_ARGUMENT, if that is nothing or more than an example may count.
    """
    if not 0 < weight <= MAX_WEIGHT:
        raise _wrong_weight(f"{weight:g}")
    weights = clip.weights * np.float32(weight)
    if weights.max() > MAX_WEIGHT:
        raise _wrong_weight(f"{weight:g}, and with the examples' own weights {weights.max():g}")
    if not weights.any():  # so small that nothing is left of it
        raise _wrong_weight(f"{weight:g}, and nothing is left of the examples' own weights")
    return clip._replace(weights=weights)


def check_total(examples: int) -> None:
    """Raises TOO_MANY beyond the most examples of one NPC."""
    if examples > MAX_EXAMPLES:
        raise ServiceError(
            "TOO_MANY", f"{examples} examples, expected at most {MAX_EXAMPLES} for one NPC", limit=MAX_EXAMPLES
        )


def to_bytes(clip: Clip) -> bytes:
    """A clip as the content of a safetensors file."""
    arrays = {name: np.ascontiguousarray(value) for name, value in clip._asdict().items() if value.size}
    return save(arrays, {"rows": str(clip.examples)})


def from_bytes(data: bytes, spec: BehaviorSpec) -> Clip:
    """Reads what `to_bytes` wrote; WRONG_ARCHETYPE if for another spec, STORE_UNAVAILABLE if it is damaged."""
    try:
        arrays = load(data)
        rows = len(arrays["weights"])
        clip = Clip(
            arrays["observations"],
            arrays.get("continuous_actions", np.zeros((rows, 0), np.float32)),
            arrays.get("discrete_actions", np.zeros((rows, 0), np.int64)),
            arrays.get("action_mask", np.zeros((rows, 0), bool)),
            arrays["weights"],
        )
    except (SafetensorError, KeyError, TypeError) as error:  # the last: a number for an array
        raise ServiceError("STORE_UNAVAILABLE", f"the store holds a damaged demonstration: {error}") from error
    empty = join([], spec)
    if any(a.dtype != b.dtype or a.shape[:1] != (rows,) for a, b in zip(clip, empty, strict=True)):
        raise ServiceError("STORE_UNAVAILABLE", "the store holds a damaged demonstration: its arrays do not fit")
    found, expected = [array.shape[1:] for array in clip], [array.shape[1:] for array in empty]
    if found != expected:
        raise ServiceError(
            "WRONG_ARCHETYPE",
            f"a stored demonstration has rows of {found}, the archetype expects {expected}; "
            "adapt from_scratch with new examples",
        )
    return clip


def join(clips: Sequence[Clip], spec: BehaviorSpec) -> Clip:
    """All the examples of some clips, in order; none make a clip of length 0."""
    action = spec.action
    empty = Clip(
        np.zeros((0, spec.observation_size), np.float32),
        np.zeros((0, action.continuous_size), np.float32),
        np.zeros((0, len(action.branch_sizes)), np.int64),
        np.zeros((0, action.mask_size), bool),
        np.zeros(0, np.float32),
    )
    return Clip(*(np.concatenate(column) for column in zip(empty, *clips, strict=True)))


def to_examples(clip: Clip) -> Examples:
    """A clip as a support set of one task."""
    tensor = [torch.from_numpy(np.array(array)).unsqueeze(0) for array in clip]
    return Examples(tensor[0], Action(tensor[1], tensor[2]), tensor[3], tensor[4])


def _continuous(message: tensor_pb2.Examples, spec: BehaviorSpec, rows: int) -> np.ndarray:
    size = spec.action.continuous_size
    if not size and not message.HasField("continuous_actions"):
        return np.zeros((rows, 0), np.float32)
    return tensors.read(message.continuous_actions, "continuous_actions", (tensor_pb2.FLOAT32,), (rows, size))


def _discrete(message: tensor_pb2.Examples, spec: BehaviorSpec, rows: int) -> np.ndarray:
    sizes = spec.action.branch_sizes
    if not sizes and not message.HasField("discrete_actions"):
        return np.zeros((rows, 0), np.int64)
    kinds = (tensor_pb2.INT64, tensor_pb2.INT32)
    return tensors.read(message.discrete_actions, "discrete_actions", kinds, (rows, len(sizes))).astype(np.int64)


def _checked(clip: Clip, spec: BehaviorSpec) -> Clip:
    """The clip, if its values are those that its fields may have."""
    outside = np.abs(clip.continuous_actions) > 1 + 1e-4
    if outside.any():
        row = int(np.argwhere(outside)[0][0])
        found = clip.continuous_actions[row].tolist()
        raise _wrong("continuous_actions", f"row {row} holds {found}, expected values in [-1, 1]", row)
    sizes = spec.action.branch_sizes
    outside = (clip.discrete_actions < 0) | (clip.discrete_actions >= np.array(sizes, np.int64))
    if outside.any():
        row = int(np.argwhere(outside)[0][0])
        found = clip.discrete_actions[row].tolist()
        raise _wrong("discrete_actions", f"row {row} is {found}, expected less than {list(sizes)}", row)
    _check_allowed(clip.action_mask, clip.discrete_actions, spec)
    _check_weights(clip.weights)
    return clip


def _check_allowed(mask: np.ndarray, discrete: np.ndarray, spec: BehaviorSpec) -> None:
    offsets = np.cumsum((0, *spec.action.branch_sizes[:-1])) if spec.action.branch_sizes else np.zeros(0, np.int64)
    allowed = np.take_along_axis(mask, discrete + offsets, 1) if discrete.size else np.ones((len(mask), 1), bool)
    if not allowed.all():
        row = int(np.argwhere(~allowed)[0][0])
        raise _wrong("action_mask", f"row {row} forbids the action that was taken, {discrete[row].tolist()}", row)


def _weights(message: tensor_pb2.Examples, rows: int) -> np.ndarray:
    if not message.HasField("weights"):
        return np.ones(rows, np.float32)
    return tensors.read(message.weights, "weights", (tensor_pb2.FLOAT32,), (rows,))


def _check_weights(values: np.ndarray) -> None:
    wrong = (values < 0) | (values > MAX_WEIGHT)
    if wrong.any():
        row = int(wrong.argmax())
        raise _wrong("weights", f"row {row} holds {values[row]}, expected 0 to {MAX_WEIGHT:g}", row)
    if not values.any():
        raise _wrong("weights", "are all 0, expected at least one example that counts", 0)


def _wrong_weight(found: str) -> ServiceError:
    return ServiceError(
        "INVALID_ARGUMENT", f"weight of the feedback is {found}, expected more than 0 and at most {MAX_WEIGHT:g}",
        field="feedback.weight",
    )  # fmt: skip


def _wrong(field: str, message: str, row: int) -> ServiceError:
    return ServiceError("INVALID_TENSOR", f"{field} {message}", field=field, row=row)
