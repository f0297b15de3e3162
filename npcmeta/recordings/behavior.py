"""`behavior.json`: what the recordings of a folder leave open."""

from __future__ import annotations

import json
import reprlib
from pathlib import Path
from typing import Any, NamedTuple

from npcmeta import files
from npcmeta.recordings.recording import MAX_OBSERVATION, Recording, RecordingError, check_branch_sizes

FILE = "behavior.json"
MAX_BYTES = 64 << 10


class Behavior(NamedTuple):
    """What somebody said of the recordings; None is read off the files."""

    tick_rate_hz: float | None = None
    observation_size: int | None = None
    continuous_size: int | None = None
    branch_sizes: tuple[int, ...] | None = None

    def check(self, recording: Recording, source: str) -> None:
        """Raises RecordingError if the recording does not fit; the message names all that differs."""
        found = {
            "tick_rate_hz": recording.tick_rate_hz,
            "observation_size": recording.observations.shape[1],
            "continuous_size": recording.continuous_actions.shape[1],
            "branch_sizes": recording.branch_sizes,
        }
        wrong = [
            f"{name} is {found[name]}; expected {expected}"
            for name, expected in self._asdict().items()
            if expected is not None and found[name] is not None and found[name] != expected
        ]
        if wrong:
            raise RecordingError(f"{source}: {', and '.join(wrong)}")


KEYS = ", ".join(Behavior._fields)


def read_behavior(path: Path) -> Behavior:
    """Reads the file; a folder need not have one.

    Raises:
        RecordingError: If it is not JSON, or names what a spec does not have.
    """
    if not path.is_file():
        return Behavior()
    try:
        text = files.read_up_to(path, MAX_BYTES)
        if len(text) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        values = json.loads(text)
    except (ValueError, OSError, RecursionError) as error:
        raise RecordingError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(values, dict):
        raise RecordingError(f"{path}: {reprlib.repr(values)}; expected an object with some of {KEYS}")
    if unknown := sorted(set(values) - set(Behavior._fields)):
        raise RecordingError(f"{path}: there is no {reprlib.repr(unknown[0])}; expected some of {KEYS}")
    return _checked(values, str(path))


def _checked(values: dict[str, Any], source: str) -> Behavior:
    rate = values.get("tick_rate_hz")
    if rate is not None and (not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 < rate <= 1000):
        raise RecordingError(f"{source}: tick_rate_hz is {rate!r}; expected more than 0 and at most 1000 hertz")
    sizes = values.get("branch_sizes")
    if sizes is not None:
        if not isinstance(sizes, list) or not all(type(size) is int for size in sizes):
            raise RecordingError(f"{source}: branch_sizes is {sizes!r}; expected a list of whole numbers")
        sizes = tuple(sizes)
        check_branch_sizes(sizes, source)
    for name in ("observation_size", "continuous_size"):
        size = values.get(name)
        if size is not None and (type(size) is not int or not 0 <= size <= MAX_OBSERVATION):
            raise RecordingError(f"{source}: {name} is {size!r}; expected a whole number up to {MAX_OBSERVATION}")
    return Behavior(
        None if rate is None else float(rate), values.get("observation_size"), values.get("continuous_size"), sizes
    )
