"""Settings from the environment: each option of `npcmeta serve` has a variable, and what is typed counts more."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

PREFIX = "NPCMETA_"
YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class Option(NamedTuple):
    """An option of a command, and where else it may come from."""

    flag: str
    variable: str
    kind: Any  # its type
    default: Any  # inspect.Parameter.empty if it has to be given


def options(command: Callable[..., None]) -> Iterator[Option]:
    """The options of a command."""
    kinds = typing.get_type_hints(command)
    for name, parameter in inspect.signature(command).parameters.items():
        yield Option(f"--{name.replace('_', '-')}", PREFIX + name.upper(), kinds[name], parameter.default)


def arguments(command: Callable[..., None], typed: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """What was typed, behind what the environment says of options that were not.

    Raises:
        ValueError: If a variable for a switch says neither yes nor no.
    """
    flags = {text.partition("=")[0].replace("_", "-").replace("--no-", "--", 1) for text in typed}
    found: list[str] = []
    for option in options(command):
        value = environment.get(option.variable, "")
        if value and option.flag not in flags:
            found += _spoken(option, value)
    return [*found, *typed]


def _spoken(option: Option, value: str) -> list[str]:
    """A variable's value as it would be typed."""
    if option.kind is bool:
        if value.lower() not in YES + NO:
            raise ValueError(f'{option.variable} is "{value[:40]}", expected one of: {", ".join(YES + NO)}')
        return [option.flag] if value.lower() in YES else []
    if typing.get_origin(option.kind) is tuple:
        return [option.flag, *value.split(",")]
    return [f"{option.flag}={value}"]
