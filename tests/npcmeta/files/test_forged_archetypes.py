"""Files from elsewhere are untrusted: whatever somebody wrote into an archetype's, the same error says what it is."""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

from npcmeta.archetype import Archetype, ArchetypeFileError, begin_npc, build_learner, save_archetype
from npcmeta.learners import LEARNERS
from npcmeta.types import Params
from tests import toys
from tests.npcmeta.forging import Header, archetype_of, field, forged, nan_at_the_end, quick, reading, tensor

BIG = 10**400


def setting(key: str, value: object) -> Callable[[Header, Params], object]:
    return lambda described, _: described["settings"].update({key: value})


HOSTILE = {
    "unknown learner": (
        field("learner", "telepathy"),
        'no learner "telepathy"; expected one of: bayes, finetune, maml',
    ),
    "learner of a wrong type": (field("learner", 3), "header field learner is of type int, expected str"),
    "no name": (lambda h, _: h.pop("name"), "header has fields"),
    "another field": (field("command", "rm"), "header has fields"),
    "bad name": (field("name", "../../etc/passwd"), "expected 1 to 63"),
    "family that steers terminals": (
        field("family", "\x1b[2J"),
        "family is '\\x1b[2J', expected at most 120 printable",
    ),
    "family that no message can hold": (
        field("family", "\ud800"),
        "family is '\\ud800', expected at most 120 printable",
    ),
    "family without end": (field("family", "a" * 100_000), "family is 'aaaa"),
    "newer schema": (field("schema", 2), "schema 1"),
    "schema true": (field("schema", True), "header field schema is of type bool"),
    "another format": (field("format", "npcmeta.npc"), 'names "npcmeta.npc", expected "npcmeta.archetype"'),
    "spec of text": (field("spec", "big"), "header field spec is of type str, expected dict"),
    "huge observation": (field("observation_size", 1 << 40, "spec"), "out of range"),
    "no observation": (field("observation_size", 0, "spec"), "out of range"),
    "huge continuous": (field("continuous_size", 1 << 40, "spec"), "out of range"),
    "negative continuous": (field("continuous_size", -1, "spec"), "out of range"),
    "huge branch": (field("branch_sizes", [1 << 40], "spec"), "out of range"),
    "branch of text": (field("branch_sizes", ["3"], "spec"), "out of range"),
    "branch of one": (field("branch_sizes", [1], "spec"), "out of range"),
    "nothing to decide": (lambda h, _: h["spec"].update(continuous_size=0, branch_sizes=[]), "decides nothing"),
    "tick rate NaN": (field("tick_rate_hz", math.nan, "spec"), "out of range"),
    "tick rate 0": (field("tick_rate_hz", 0.0, "spec"), "out of range"),
    "short mean": (field("mean", [0.0], "normaliser"), "normaliser mean is not a list of 3 numbers"),
    "mean of text": (field("mean", ["0", "0", "0"], "normaliser"), "normaliser mean is not a list of 3 numbers"),
    "no mean": (field("normaliser", {}), "normaliser mean is not a list of 3 numbers"),
    "mean infinite": (field("mean", [0.0, math.inf, 0.0], "normaliser"), "normaliser mean holds NaN, infinity"),
    "mean beyond floats": (field("mean", [0.0, BIG, 0.0], "normaliser"), "normaliser mean"),
    "std 0": (field("std", [1.0, 0.0, 1.0], "normaliser"), "normaliser std holds 0.0"),
    "std vanishing": (field("std", [1.0, 1e-300, 1.0], "normaliser"), "normaliser std holds 1e-300"),
    "settings beyond bounds": (setting("hidden", [1 << 40]), "setting hidden is"),
    "too many layers": (setting("hidden", [8] * 9), "setting hidden is"),
    "sizes of text": (setting("hidden", "many"), "setting hidden is"),
    "sizes of floats": (setting("hidden", [8.5]), "setting hidden is"),
    "other sizes": (setting("hidden", [13]), "tensor"),
    "all sizes at their bounds": (setting("hidden", [4096] * 8), "tensor"),
    "unknown activation": (setting("activation", "__import__"), "setting activation is '__import__'"),
    "share NaN": (setting("unadapted_share", math.nan), "setting unadapted_share is nan"),
    "share negative": (setting("unadapted_share", -1.0), "setting unadapted_share is -1.0"),
    "share beyond floats": (setting("unadapted_share", BIG), "setting unadapted_share"),
    "share true": (setting("unadapted_share", True), "setting unadapted_share is True"),
    "unknown setting": (setting("secret", 1), "settings of"),
    "missing setting": (lambda h, _: h["settings"].pop("hidden"), "settings of"),
    "no tensors": (lambda _, tensors: tensors.clear(), "tensors are []"),
    "a tensor missing": (lambda _, tensors: tensors.pop(max(tensors)), "tensors are"),
    "a tensor too many": (lambda _, tensors: tensors.update(extra=torch.zeros(2)), "tensors are"),
    "NaN in a tensor": (tensor(nan_at_the_end), "NaN or infinity"),
    "float64 tensor": (tensor(lambda value: value.double()), "float64"),
    "bfloat16 tensor": (tensor(lambda value: value.bfloat16()), "bfloat16"),
    "integer tensor": (tensor(lambda value: value.long()), "int64"),
    "tensor of another shape": (tensor(lambda value: torch.cat([value, value])), "expected torch.float32"),
    "split of text": (field("seed", "first", "split"), "split seed is 'first', expected a whole number"),
    "split beyond seeds": (field("seed", 1 << 60, "split"), "split seed is 1152921504606846976, expected a whole"),
    "another revision": (field("revision", "0" * 64), "changed after it was written"),
    "revision of a wrong type": (field("revision", None), "header field revision is of type NoneType"),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_forged_archetype(fault: str, content: bytes, folder: Path) -> None:
    edit, message = HOSTILE[fault]
    with pytest.raises(ArchetypeFileError) as caught:
        reading(forged(content, edit), folder)
    assert message in str(caught.value)
    assert "changed.safetensors" in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_weights_that_leave_nothing_to_play_with(content: bytes, folder: Path) -> None:
    with pytest.raises(ArchetypeFileError, match="its policy puts out NaN or infinity"):
        reading(forged(content, lambda _, tensors: tensors.update({k: v + 3e38 for k, v in tensors.items()})), folder)


@pytest.mark.parametrize("learner", LEARNERS)
def test_any_number_in_any_setting_is_refused_or_plays(learner: str, folder: Path) -> None:
    draft = archetype_of(learner, toys.kinds(learner)[-1])
    data = content_of(draft, folder)
    numbers = [key for key, value in asdict(draft.settings).items() if type(value) is float]  # type: ignore[call-overload]
    for key, value in product(numbers, (0.0, 1e-60, 1e-9, 1e-6, 1.0, 2.0, 1e9, math.nan)):
        with suppress(ArchetypeFileError):
            play(reading(forged(data, setting(key, value)), folder))


def test_a_forgery_that_is_right_loads(saved: Archetype, content: bytes, folder: Path) -> None:
    """So the cases above fail for their own reason, not because of how they are forged."""
    assert reading(forged(content, lambda h, _: h), folder).revision == saved.revision
    assert reading(forged(content, field("family", "arena")), folder).family == "arena"


def content_of(archetype: Archetype, folder: Path) -> bytes:
    save_archetype(archetype, folder / "intact.safetensors")
    return (folder / "intact.safetensors").read_bytes()


class LargestTensor(TorchFunctionMode):
    """Notes the size in bytes of the largest tensor that any torch function returned."""

    size = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.device.type != "meta":
            self.size = max(self.size, result.nbytes)
        return result


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_hostile_header_allocates_nothing(learner: str, folder: Path) -> None:
    kind = toys.kinds(learner)[-1]

    def edit(described: Header, _: Params) -> None:
        most = {"continuous_size": 4096} if kind == "mixed" else {"branch_sizes": [4096]}
        described["spec"].update(observation_size=16384, **most)
        described["normaliser"] = {"mean": [0.0] * 16384, "std": [1.0] * 16384}
        huge = {"hidden": [4096] * 8, "encoder": [4096] * 8, "code": 4096, "embedding": 4096, "capacity": 4096}
        described["settings"].update({k: v for k, v in huge.items() if k in described["settings"]})

    data = forged(content_of(archetype_of(learner, kind), folder), edit)
    with LargestTensor() as largest, pytest.raises(ArchetypeFileError, match="tensor"):
        reading(data, folder)
    assert largest.size < 4 * len(data)


@pytest.mark.parametrize(
    ("learner", "changes"),
    [
        ("bayes", {"hidden": (1,), "features": 1500, "members": 32}),
        ("matching", {"hidden": (1,), "embedding": 4096, "capacity": 4096}),
    ],
)
def test_few_weights_that_ask_for_a_large_state(learner: str, changes: dict[str, Any], folder: Path) -> None:
    settings = replace(toys.small_settings(learner), **changes)  # type: ignore[type-var]
    meta = settings.build(toys.spec("mixed")).init(torch.Generator().manual_seed(0))
    draft = archetype_of(learner)._replace(settings=settings, meta=meta)
    with LargestTensor() as largest, pytest.raises(ArchetypeFileError, match="an NPC would take "):
        reading(content_of(draft, folder), folder)
    assert largest.size < 1 << 20


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@quick
@given(data=st.data(), value=json_values | st.sampled_from([BIG, -1, 0, 1e400, "", "\ud800"]))
def test_any_value_in_any_field_of_the_header(data: st.DataObject, value: Any, content: bytes, folder: Path) -> None:
    def edit(described: Header, _: Params) -> None:
        target = described
        while True:
            key = data.draw(st.sampled_from(sorted(target)))
            if not isinstance(target[key], dict) or not target[key] or data.draw(st.booleans()):
                target[key] = value
                return
            target = target[key]

    try:
        loaded = reading(forged(content, edit), folder)
    except ArchetypeFileError:
        return
    play(loaded)


def play(archetype: Archetype) -> None:
    """What was let in must work."""
    kind = "mixed" if archetype.spec.action.continuous_size else "discrete"
    learner, task = build_learner(archetype), toys.draw_task(kind, 1, 2)
    state = begin_npc(archetype, "bob").state
    assert learner.predict(archetype.meta, state, task.query.observation).isfinite().all()
    learner.update(archetype.meta, state, task.support)
