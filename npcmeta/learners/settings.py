"""Reading a learner's settings back from a file: strict about names and kinds."""

from __future__ import annotations

import dataclasses
import reprlib
import typing
from typing import Any, TypeVar

S = TypeVar("S")
MAX_SIZE = 4096
"""Bounds every size in a settings file, so that a hostile file cannot ask for all the memory there is."""
MIN_NUMBER, MAX_NUMBER = 1e-9, 1e9
"""Bounds every other number that is not 0: what is smaller may vanish in float32, and is divided by."""
_DROPPED = MIN_NUMBER, 0.99
RANGES = {"dropout": _DROPPED, "feature_dropout": _DROPPED, "prior_std": (0.003, 0.99)}
"""Narrower bounds: dropout keeps something, and a prior's spread lies within what `abml` allows a weight."""


def to_json(settings: Any) -> dict[str, Any]:
    """A settings dataclass as plain JSON values."""
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(settings).items()
    }


def from_json(kind: type[S], values: dict[str, Any]) -> S:
    """Builds settings of `kind` from JSON values.

    Raises:
        ValueError: On an unknown or missing setting, or a value of another type than the field's.
    """
    hints = typing.get_type_hints(kind)
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if set(values) != set(defaults):
        raise ValueError(
            f"settings of {kind.__module__.rpartition('.')[2]} are {sorted(values)}, expected {sorted(defaults)}"
        )
    return kind(**{key: _converted(key, value, hints[key], defaults[key]) for key, value in values.items()})


def _converted(key: str, value: Any, hint: Any, default: Any) -> Any:
    smallest = 0 if default == 0 else 1  # of a whole number: what is 0 by default may be left out
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list) or len(value) > 8 or not all(_is_size(item) for item in value):
            raise ValueError(f"setting {key} is {_shown(value)}, expected at most 8 whole numbers from 1 to {MAX_SIZE}")
        return tuple(value)
    if hint is float:
        return _number(key, value)
    if typing.get_origin(hint) is typing.Literal:
        if value not in typing.get_args(hint):
            raise ValueError(f"setting {key} is {_shown(value)}, expected one of: {', '.join(typing.get_args(hint))}")
        return value
    if hint is int and not _is_size(value, smallest):
        raise ValueError(f"setting {key} is {_shown(value)}, expected a whole number from {smallest} to {MAX_SIZE}")
    if type(value) is not hint:
        raise ValueError(f"setting {key} is {_shown(value)}, expected a value of type {hint.__name__}")
    return value


def _number(key: str, value: Any) -> float:
    low, high = RANGES.get(key, (MIN_NUMBER, MAX_NUMBER))
    held = type(value) in (int, float) and (low <= value <= high or (value == 0 and low == MIN_NUMBER))
    if not held:
        zero = "0 or " if low == MIN_NUMBER else ""
        raise ValueError(f"setting {key} is {_shown(value)}, expected {zero}a number from {low:g} to {high:g}")
    return float(value)


def _shown(value: Any) -> str:
    """The value for an error message; what a file holds may be long."""
    return reprlib.repr(value)


def _is_size(value: Any, smallest: int = 1) -> bool:
    return type(value) is int and smallest <= value <= MAX_SIZE
