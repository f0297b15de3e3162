"""Files from elsewhere are untrusted: whatever is wrong with one, the same error says what it is."""

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch.overrides import TorchFunctionMode

from npcmeta import header
from npcmeta.archetype import (
    Archetype,
    ArchetypeFileError,
    begin_npc,
    build_learner,
    load_archetype,
    load_npc,
    npc_from_bytes,
    npc_to_bytes,
    save_archetype,
)
from npcmeta.learners import LEARNERS
from npcmeta.types import Normaliser, Params
from tests import toys

Header = dict[str, Any]
BIG = 10**400


def archetype_of(learner: str, kind: str = "mixed", name: str = "guard") -> Archetype:
    chosen = toys.small_settings(learner)
    meta = chosen.build(toys.spec(kind)).init(torch.Generator().manual_seed(0))
    return Archetype(name, "toy", learner, chosen, toys.spec(kind), Normaliser((0.0,) * 3, (1.0,) * 3), {}, {}, meta)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module", params=["maml", "cnp"])
def saved(request: pytest.FixtureRequest, folder: Path) -> Archetype:
    return save_archetype(archetype_of(request.param), folder / f"{request.param}.safetensors")


@pytest.fixture(scope="module")
def content(saved: Archetype, folder: Path) -> bytes:
    return (folder / f"{saved.learner_name}.safetensors").read_bytes()


def reading(data: bytes, folder: Path) -> Archetype:
    (folder / "changed.safetensors").write_bytes(data)
    return load_archetype(folder / "changed.safetensors")


def forged(data: bytes, edit: Callable[[Header, Params], object]) -> bytes:
    """The file after `edit`, with the digest of its new content: what somebody who knows the format can write."""
    size = int.from_bytes(data[:8], "little")
    described, tensors = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["npcmeta"]), load(data)
    del described["revision"]
    edit(described, tensors)
    described.setdefault("revision", header.digest(described, {k: v for k, v in tensors.items() if is_numpy(v)}))
    return save(tensors, {"npcmeta": json.dumps(described)})


def is_numpy(tensor: torch.Tensor) -> bool:
    return tensor.dtype != torch.bfloat16


def setting(key: str, value: object) -> Callable[[Header, Params], object]:
    return lambda described, _: described["settings"].update({key: value})


def field(key: str, value: object, *inside: str) -> Callable[[Header, Params], object]:
    def edit(described: Header, _: Params) -> None:
        for name in inside:
            described = described[name]
        described[key] = value

    return edit


def tensor(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Header, Params], object]:
    return lambda _, tensors: tensors.update({max(tensors): change(tensors[max(tensors)])})


def nan_at_the_end(value: torch.Tensor) -> torch.Tensor:
    value = value.clone()
    value.view(-1)[-1] = math.nan
    return value


HOSTILE = {
    "unknown learner": (
        field("learner", "telepathy"),
        'no learner "telepathy"; expected one of: bayes, finetune, maml',
    ),
    "learner of a wrong type": (field("learner", 3), "header field learner is of type int, expected str"),
    "no name": (lambda h, _: h.pop("name"), "header has fields"),
    "another field": (field("command", "rm"), "header has fields"),
    "bad name": (field("name", "../../etc/passwd"), "expected 1 to 63"),
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


def test_settings_that_leave_nothing_to_play_with(folder: Path) -> None:
    save_archetype(archetype_of("cnp"), folder / "plain.safetensors")
    data = (folder / "plain.safetensors").read_bytes()
    with pytest.raises(ArchetypeFileError, match="its policy puts out NaN or infinity"):
        reading(forged(data, setting("prior_examples", 0.0)), folder)


def test_a_forgery_that_is_right_loads(saved: Archetype, content: bytes, folder: Path) -> None:
    """So the cases above fail for their own reason, not because of how they are forged."""
    assert reading(forged(content, lambda h, _: h), folder).revision == saved.revision
    assert reading(forged(content, field("family", "arena")), folder).family == "arena"


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

    save_archetype(archetype_of(learner, kind), folder / "small.safetensors")
    data = forged((folder / "small.safetensors").read_bytes(), edit)
    with LargestTensor() as largest, pytest.raises(ArchetypeFileError, match="tensor"):
        reading(data, folder)
    assert largest.size < 4 * len(data)


@pytest.mark.parametrize("levels", [100, 900, 950, 970, 980, 985, 990, 995, 1000, 10_000])
def test_deep_nesting(levels: int, content: bytes, folder: Path) -> None:
    deep = forged(content, field("split", {"x": "DEEP"})).replace(b'\\"DEEP\\"', b"[" * levels + b"]" * levels)
    grown = int.from_bytes(deep[:8], "little") + 2 * levels - len('\\"DEEP\\"')
    with pytest.raises(ArchetypeFileError):
        reading(struct.pack("<Q", grown) + deep[8:], folder)


@pytest.mark.parametrize("share", [0, 0.0005, 0.001, 0.01, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999])
def test_truncated_archetype(share: float, content: bytes, folder: Path) -> None:
    with pytest.raises(ArchetypeFileError, match=r"cut off|intact"):
        reading(content[: int(len(content) * share)], folder)


def test_archetype_with_something_behind_it(content: bytes, folder: Path) -> None:
    with pytest.raises(ArchetypeFileError, match="intact"):
        reading(content + b"\0", folder)


quick = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(data=st.data())
def test_any_truncation_or_flip_of_an_archetype(data: st.DataObject, content: bytes, folder: Path) -> None:
    changed = damaged(data, content)
    try:
        loaded = reading(changed, folder)
    except ArchetypeFileError:
        return
    # Only the white space between the values of a header can change unnoticed.
    save_archetype(loaded, folder / "again.safetensors")
    assert (folder / "again.safetensors").read_bytes() == content


@quick
@given(data=st.data())
def test_any_truncation_or_flip_of_an_npc(data: st.DataObject, saved: Archetype) -> None:
    content = npc_to_bytes(begin_npc(saved, "bob"))
    changed = damaged(data, content)
    try:
        loaded = npc_from_bytes(changed, saved, source="bob.npc")
    except ArchetypeFileError:
        return
    assert npc_to_bytes(loaded) == content


def damaged(data: st.DataObject, content: bytes) -> bytes:
    header_end = 8 + int.from_bytes(content[:8], "little")
    at = data.draw(st.integers(0, header_end - 1) | st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        return content[:at]
    flipped = bytes([content[at] ^ data.draw(st.integers(1, 255))])
    return content[:at] + flipped + content[at + 1 :]


@quick
@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda b: struct.pack("<Q", len(b)) + b))
def test_garbage_is_no_archetype(folder: Path, data: bytes) -> None:
    with pytest.raises(ArchetypeFileError):
        reading(data, folder)


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
    learner, task = build_learner(archetype), toys.draw_task("mixed", 1, 2)
    state = begin_npc(archetype, "bob").state
    assert learner.predict(archetype.meta, state, task.query.observation).isfinite().all()
    learner.update(archetype.meta, state, task.support)


def test_foreign_files(saved: Archetype, content: bytes, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchetypeFileError, match="no npcmeta header"):
        reading(save({"weight": torch.zeros(3)}), folder)
    with pytest.raises(ArchetypeFileError, match="no npcmeta header"):
        reading(save({"weight": torch.zeros(3)}, {"npcmeta": "not json"}), folder)
    with pytest.raises(ArchetypeFileError, match='names "nothing"'):
        reading(save({"weight": torch.zeros(3)}, {"npcmeta": "[]"}), folder)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "pickle.pt")
    with pytest.raises(ArchetypeFileError, match=r"pickle\.pt"):
        load_archetype(tmp_path / "pickle.pt")
    with pytest.raises(ArchetypeFileError, match=r'names "npcmeta\.npc"'):
        reading(npc_to_bytes(begin_npc(saved, "bob")), folder)
    with pytest.raises(ArchetypeFileError, match=r'names "npcmeta\.archetype", expected "npcmeta\.npc"'):
        npc_from_bytes(content, saved, source="bob")


@pytest.mark.parametrize("kind", ["F4", "F8_E8M0", "F6_E2M3", "BF16", "C64"])
def test_number_formats_that_torch_or_numpy_lack(kind: str, content: bytes, folder: Path) -> None:
    size = int.from_bytes(content[:8], "little")
    outer = json.loads(content[8 : 8 + size])
    bits = {"F4": 4, "F8_E8M0": 8, "F6_E2M3": 6, "BF16": 16, "C64": 64}[kind]
    lone = {"0.bias": {"dtype": kind, "shape": [8], "data_offsets": [0, bits]}, "__metadata__": outer["__metadata__"]}
    text = json.dumps(lone).encode()
    with pytest.raises(ArchetypeFileError):
        reading(struct.pack("<Q", len(text)) + text + b"\0" * bits, folder)


def test_missing_folder_and_oversized(folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    with pytest.raises(ArchetypeFileError, match="No such file"):
        load_archetype(folder / "nobody.safetensors")
    with pytest.raises(ArchetypeFileError, match="directory"):
        load_archetype(folder)
    monkeypatch.setattr("npcmeta.archetype.MAX_FILE_BYTES", 100)
    with pytest.raises(ArchetypeFileError, match="expected at most 100"):
        reading(content, folder)


NPC_FAULTS = {
    "negative examples": (field("examples", -1), "examples is -1, expected 0 to"),
    "examples of text": (field("examples", "12"), "header field examples is of type str"),
    "seed beyond 64 bits": (field("seed", 1 << 80), "seed"),
    "bad name": (field("name", "Bob; rm"), "expected 1 to 63"),
    "another field": (field("admin", True), "header has fields"),
    "NaN state": (tensor(nan_at_the_end), "NaN or infinity"),
    "two tasks": (tensor(lambda value: torch.cat([value, value])), "expected torch.float32"),
    "another revision": (field("archetype_revision", "f" * 64), "belongs to archetype guard revision ffffffffffff"),
}


@pytest.mark.parametrize("fault", NPC_FAULTS)
def test_forged_npc(fault: str, saved: Archetype) -> None:
    edit, message = NPC_FAULTS[fault]
    with pytest.raises(ArchetypeFileError) as caught:
        npc_from_bytes(forged(npc_to_bytes(begin_npc(saved, "bob")), edit), saved, source="bob.npc")
    assert message in str(caught.value)
    assert "bob.npc" in str(caught.value)


@pytest.mark.parametrize("kind", ["mixed", "discrete"])
def test_npc_of_another_archetype(kind: str, saved: Archetype, folder: Path) -> None:
    """Also where its tensors have other shapes, the error says whose NPC it is and what to do."""
    other = save_archetype(archetype_of(saved.learner_name, kind, "rival"), folder / "other.safetensors")
    (folder / "npc.safetensors").write_bytes(npc_to_bytes(begin_npc(other, "bob")))
    with pytest.raises(ArchetypeFileError, match=r"belongs to archetype rival .* got guard .* adapt it again"):
        load_npc(folder / "npc.safetensors", saved)
