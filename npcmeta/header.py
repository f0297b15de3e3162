"""The JSON header of archetype and NPC files: written, parsed strictly, and tied to the tensors by a digest."""

from __future__ import annotations

import hashlib
import json
import math
import re
import reprlib
from typing import Any

import torch

from npcmeta import learners
from npcmeta.learners import settings as learner_settings
from npcmeta.types import ActionSpec, BehaviorSpec, Normaliser, Params

SCHEMA = 1
MAX_HEADER_BYTES = 16 << 20
MAX_OBSERVATIONS = 16384
MAX_CHOICES = 4096
MAX_COUNT = (1 << 63) - 1
MAX_SPLIT = 1 << 53
MIN_STD, MAX_NUMBER = 1e-12, 1e30
MAX_STATE_BYTES = 32 << 20
"""Of an NPC's state, beside four times what its archetype has in weights."""
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
REVISION = re.compile(r"[0-9a-f]{0,64}")

ARCHETYPE_FIELDS = {
    "format": str,
    "schema": int,
    "name": str,
    "family": str,
    "learner": str,
    "settings": dict,
    "spec": dict,
    "normaliser": dict,
    "split": dict,
    "provenance": dict,
    "revision": str,
}
NPC_FIELDS = {
    "format": str,
    "schema": int,
    "name": str,
    "archetype_name": str,
    "archetype_revision": str,
    "examples": int,
    "seed": int,
    "revision": str,
}
NPC_MAY_HAVE = {"display_name": str, "demonstrations": int}
"""Fields that are left out where they say nothing; the latter is how many there are."""
MAX_DISPLAY_NAME = 120


def describe_archetype(fields: dict[str, Any]) -> dict[str, Any]:
    """The header of an archetype, without its revision, from the fields of `Archetype`."""
    return {
        "format": "npcmeta.archetype",
        "schema": SCHEMA,
        "name": fields["name"],
        "family": fields["family"],
        "learner": fields["learner_name"],
        "settings": learner_settings.to_json(fields["settings"]),
        "spec": spec_to_json(fields["spec"]),
        "normaliser": {"mean": list(fields["normaliser"].mean), "std": list(fields["normaliser"].std)},
        "split": fields["split"],
        "provenance": fields["provenance"],
    }


def parse_archetype(described: dict[str, Any]) -> dict[str, Any]:
    """The fields of `Archetype` but for its tensors; raises ValueError where the header breaks the schema."""
    check_fields(described, ARCHETYPE_FIELDS)
    spec = spec_from_json(described["spec"])
    kind = learners.settings_type(described["learner"])
    mean = _floats(described["normaliser"].get("mean"), spec.observation_size, "normaliser mean")
    std = _floats(described["normaliser"].get("std"), spec.observation_size, "normaliser std")
    if min(std) < MIN_STD:
        raise ValueError(f"normaliser std holds {min(std)}, expected values of at least {MIN_STD}")
    _check_split(described["split"])
    return {
        "name": checked_name(described["name"]),
        "family": _checked_family(described["family"]),
        "learner_name": described["learner"],
        "settings": learner_settings.from_json(kind, described["settings"]),
        "spec": spec,
        "normaliser": Normaliser(mean, std),
        "split": described["split"],
        "provenance": described["provenance"],
        "revision": described["revision"],
    }


def describe_npc(fields: dict[str, Any]) -> dict[str, Any]:
    """The header of an NPC, without its revision, from the fields of `Npc`."""
    kept = {key: value for key, value in fields.items() if key != "state" and key not in NPC_MAY_HAVE}
    more = {"display_name": fields["display_name"], "demonstrations": len(fields["demonstrations"])}
    return {"format": "npcmeta.npc", "schema": SCHEMA, **kept, **{key: value for key, value in more.items() if value}}


def parse_npc(described: dict[str, Any]) -> dict[str, Any]:
    """The fields of `Npc` but for its tensors; raises ValueError where the header breaks the schema."""
    check_fields(described, NPC_FIELDS | {key: kind for key, kind in NPC_MAY_HAVE.items() if key in described})
    for key in ("name", "archetype_name"):
        checked_name(described[key])
    if not REVISION.fullmatch(described["archetype_revision"]):
        raise ValueError(f"archetype_revision is {reprlib.repr(described['archetype_revision'])}, expected a digest")
    for key in ("examples", "seed"):
        if not 0 <= described[key] <= MAX_COUNT:
            raise ValueError(f"{key} is {reprlib.repr(described[key])}, expected 0 to {MAX_COUNT}")
    display_name = described.get("display_name", "")
    display_name.encode()  # raises ValueError if it is no text that can be sent
    if len(display_name) > MAX_DISPLAY_NAME:
        raise ValueError(f"display_name has {len(display_name)} characters, expected at most {MAX_DISPLAY_NAME}")
    kept = ("name", "archetype_name", "archetype_revision", "examples", "seed")
    return {"display_name": display_name, **{key: described[key] for key in kept}}


def checked_name(name: str) -> str:
    """Returns the name of an archetype or NPC, or raises ValueError saying what a name may be."""
    if not NAME.fullmatch(name):
        raise ValueError(f'name "{name[:80]}": expected 1 to 63 of a-z, 0-9, "-" and "_", not beginning with a sign')
    return name


def spec_to_json(spec: BehaviorSpec) -> dict[str, Any]:
    """A behavior spec as plain JSON values."""
    return {
        "observation_size": spec.observation_size,
        "continuous_size": spec.action.continuous_size,
        "branch_sizes": list(spec.action.branch_sizes),
        "tick_rate_hz": float(spec.tick_rate_hz),
    }


def spec_from_json(values: dict[str, Any]) -> BehaviorSpec:
    """A behavior spec from JSON values; raises ValueError if a value is missing, of a wrong type or out of range."""
    fields = {"observation_size": int, "continuous_size": int, "branch_sizes": list, "tick_rate_hz": float}
    check_fields(values, fields)
    branches = values["branch_sizes"]
    sizes_hold = (
        1 <= values["observation_size"] <= MAX_OBSERVATIONS
        and 0 <= values["continuous_size"] <= MAX_CHOICES
        and all(type(size) is int and size >= 2 for size in branches)
        and sum(branches) <= MAX_CHOICES
    )
    if not sizes_hold or not 0 < values["tick_rate_hz"] < math.inf:
        raise ValueError(f"spec {reprlib.repr(values)} is out of range")
    action = ActionSpec(values["continuous_size"], tuple(branches))
    return BehaviorSpec(values["observation_size"], action, values["tick_rate_hz"])


def check_fields(values: dict[str, Any], expected: dict[str, type]) -> None:
    """Raises ValueError unless `values` has just these fields, each of just this type."""
    if set(values) != set(expected):
        raise ValueError(f"header has fields {sorted(values)[:20]}, expected {sorted(expected)}")
    for key, kind in expected.items():
        if type(values[key]) is not kind:
            raise ValueError(f"header field {key} is of type {type(values[key]).__name__}, expected {kind.__name__}")


def check_tensors(found: Params, expected: Params) -> None:
    """Raises ValueError unless names, shapes and types agree and every value is finite."""
    if set(found) != set(expected):
        raise ValueError(f"tensors are {sorted(found)[:20]}, expected {sorted(expected)[:20]}")
    for key, value in expected.items():
        if found[key].shape != value.shape or found[key].dtype != value.dtype:
            raise ValueError(
                f"tensor {key} is {found[key].dtype} {list(found[key].shape)}, "
                f"expected {value.dtype} {list(value.shape)}"
            )
        if not torch.isfinite(found[key]).all():
            raise ValueError(f"tensor {key} holds NaN or infinity")


def check_state_size(state: Params, weights: Params) -> None:
    """Raises ValueError if an NPC takes far more memory than its archetype: a few settings ask for any number of it."""
    taken, held = (sum(value.nbytes for value in tensors.values()) for tensors in (state, weights))
    most = MAX_STATE_BYTES + 4 * held
    if taken > most:
        raise ValueError(f"an NPC would take {taken:,} bytes, expected at most {most:,}; its settings are out of range")


def read_metadata(data: bytes, kind: str) -> dict[str, Any]:
    """The JSON header inside the content of a safetensors file; raises ValueError if it is not of this kind."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > min(len(data) - 8, MAX_HEADER_BYTES):
        raise ValueError(f"not a safetensors file, or cut off: {len(data):,} bytes")
    try:
        text = json.loads(data[8 : 8 + size])["__metadata__"]["npcmeta"]
        described = json.loads(text)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("not a file of npcmeta: it has no npcmeta header") from error
    if not isinstance(described, dict) or described.get("format") != kind or described.get("schema") != SCHEMA:
        found = described.get("format", "nothing") if isinstance(described, dict) else "nothing"
        raise ValueError(f'its header names "{found}", expected "{kind}" of schema {SCHEMA}')
    return described


def digest(described: dict[str, Any], tensors: Params) -> str:
    """SHA-256 over the header (canonical JSON, without its revision) and over every tensor in order of name."""
    total = hashlib.sha256(json.dumps(described, sort_keys=True, separators=(",", ":")).encode())
    for key in sorted(tensors):
        value = tensors[key].detach().contiguous()
        total.update(f"|{key}|{value.dtype}|{list(value.shape)}|".encode())
        total.update(value.numpy().reshape(-1).view("uint8").data)
    return total.hexdigest()


def check_digest(described: dict[str, Any], tensors: Params) -> None:
    """Raises ValueError unless the revision in a file's header is the digest of the rest of the file."""
    body = {key: value for key, value in described.items() if key != "revision"}
    try:
        found = digest(body, tensors)
    except TypeError as error:  # how torch says that numpy has no such number format
        raise ValueError(f"{error}; expected numbers of a common format") from error
    if found != described["revision"]:
        raise ValueError(
            f"its content has digest {found[:12]}, its header says {described['revision'][:12]}; "
            "the file was changed after it was written; use an unchanged copy"
        )


def _checked_family(family: str) -> str:
    """The name of a family, if it can be sent, and shown in a terminal that it may not steer."""
    if not family.isprintable() or len(family) > MAX_DISPLAY_NAME:
        raise ValueError(f"family is {reprlib.repr(family)}, expected at most {MAX_DISPLAY_NAME} printable characters")
    return family


def _check_split(split: dict[str, Any]) -> None:
    """Checks the number that chose the tasks, if it is there: what was never trained has none, and plays."""
    seed = split.get("seed", 0)
    if type(seed) is not int or abs(seed) > MAX_SPLIT:
        raise ValueError(f"split seed is {reprlib.repr(seed)}, expected a whole number up to {MAX_SPLIT}")


def _floats(values: Any, size: int, what: str) -> tuple[float, ...]:
    if not isinstance(values, list) or len(values) != size or not all(type(v) in (int, float) for v in values):
        raise ValueError(f"{what} is not a list of {size} numbers")
    if not all(abs(v) <= MAX_NUMBER for v in values):
        raise ValueError(f"{what} holds NaN, infinity or a number beyond {MAX_NUMBER:g}")
    return tuple(float(v) for v in values)
