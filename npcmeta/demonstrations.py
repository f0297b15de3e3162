"""What an NPC was adapted from, as it lies in the NPC's file: tensors `demonstrations.{i}.{field}`, oldest first.

Fields are those of `FIELDS`, one row for each step; what has no columns is left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch

from npcmeta.types import Examples, Params

FIELDS = {
    "observations": torch.float32,  # [n, O]
    "continuous_actions": torch.float32,  # [n, C]
    "discrete_actions": torch.int64,  # [n, B]
    "action_mask": torch.bool,  # [n, W], True = allowed
    "weights": torch.float32,  # [n]
}
KEY = re.compile(r"demonstrations\.(0|[1-9][0-9]{0,8})\.([a-z_]+)")


def demonstration(examples: Examples) -> Params:
    """The examples of one character (a task axis of 1) by field."""
    action = examples.action
    values = (examples.observation, action.continuous, action.discrete, examples.action_mask, examples.weight)
    return {name: value[0].contiguous() for name, value in zip(FIELDS, values, strict=True) if value.numel()}


def to_tensors(shown: Sequence[Params]) -> Params:
    """Demonstrations as tensors of a file."""
    return {f"demonstrations.{i}.{name}": value for i, each in enumerate(shown) for name, value in each.items()}


def from_tensors(tensors: Params, count: int) -> tuple[Params, tuple[Params, ...]]:
    """Parts the tensors of a file into the state and `count` demonstrations.

    Whoever adapts to them has to hold them against a behavior spec first.

    Raises:
        ValueError: If a demonstration is missing, or holds what none does.
    """
    state = {key: value for key, value in tensors.items() if not key.startswith("demonstrations.")}
    found: dict[int, Params] = {}
    for key in tensors.keys() - state.keys():
        match = KEY.fullmatch(key)
        if match is None or match[2] not in FIELDS:
            raise ValueError(f'tensor "{key[:80]}" is no field of a demonstration; there are {", ".join(FIELDS)}')
        found.setdefault(int(match[1]), {})[match[2]] = _checked(key, tensors[key], FIELDS[match[2]])
    if len(found) != count or set(found) != set(range(count)):
        raise ValueError(f"holds demonstrations {sorted(found)[:20]}, its header says that there are {count}")
    return state, tuple(found[i] for i in range(count))


def _checked(key: str, value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if value.dtype != dtype:
        raise ValueError(f"tensor {key} is {value.dtype}, expected {dtype}")
    if not torch.isfinite(value).all():
        raise ValueError(f"tensor {key} holds NaN or infinity")
    return value
