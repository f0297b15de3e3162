"""NPC files from elsewhere: whatever is in one, it is an NPC that can act here, or INVALID_FILE says why not."""

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from npcmeta.archetype import Npc, acting_part, begin_npc, build_learner, npc_to_bytes, read_npc, save_archetype
from npcmeta.types import Params
from npcmeta_server import catalog, clips, portable
from npcmeta_server.errors import ServiceError
from npcmeta_server.limits import MAX_FILE_HEADER
from npcmeta_server.portable import MOST_CLIPS, Portable
from npcmeta_server.repertoire import Repertoire
from npcmeta_server.store import NpcRow, RevisionRow, Snapshot
from tests.npcmeta.forging import Header, damaged, forged
from tests.server.client import clip
from tests.server.conftest import save
from tests.server.test_hostile import outcome


class House:
    """A server's archetypes, and an NPC of one of them."""

    def __init__(self, folder: Path) -> None:
        self.archetype = save("guard", folder)
        self.repertoire = Repertoire(catalog.load(folder))
        self.hosted = self.repertoire.current("guard")
        begun = begin_npc(self.archetype, "bob", seed=3)
        self.npc = acting_part(begun, build_learner(self.archetype))._replace(examples=9)
        spec = self.archetype.spec
        self.clips = [clips.read(clip(spec, rows, rows), spec, "guard") for rows in (4, 5)]
        self.file = portable.write(self.snapshot(self.clips), self.hosted)

    def snapshot(self, shown: list[clips.Clip]) -> Snapshot:
        now, data = time.time(), npc_to_bytes(self.npc)
        row = NpcRow("bob", "guard", "Bob Ä", 3, 4, 9, now, now, "etag")
        revision = RevisionRow("bob", 4, "guard", self.archetype.revision, 9, 0.5, now)
        return Snapshot(row, revision, data, tuple((clips.to_bytes(each), each.examples) for each in shown))

    def read(self, data: bytes) -> Portable:
        return portable.check(portable.read(data), self.repertoire)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("archetypes"))


def refused(house: House, data: bytes) -> ServiceError:
    found = outcome(lambda: house.read(data))
    assert isinstance(found, ServiceError)
    found.status()  # it can be sent, whatever the file holds
    return found


def test_a_file_holds_all_that_an_npc_is(house: House) -> None:
    found = house.read(house.file)
    assert found.npc._replace(state={}) == Npc("bob", "guard", house.archetype.revision, 9, 3, {}, display_name="Bob Ä")
    assert found.fits
    for key, value in house.npc.state.items():
        assert torch.equal(found.npc.state[key], value)
    for one, other in zip(found.clips, house.clips, strict=True):
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert portable.write(house.snapshot(found.clips), house.hosted) == house.file


def test_thousands_of_clips_are_joined_in_order(house: House) -> None:
    spec = house.archetype.spec
    single = [clips.read(clip(spec, 1, i), spec, "guard") for i in range(MOST_CLIPS + 1)]
    data = portable.write(house.snapshot(single), house.hosted)
    assert int.from_bytes(data[:8], "little") <= MAX_FILE_HEADER
    found = house.read(data).clips
    assert len(found) <= MOST_CLIPS
    for one, other in zip(clips.join(found, spec), clips.join(single, spec), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_whole_npc_is_cut_to_what_acts(house: House) -> None:
    whole = begin_npc(house.archetype, "eve", seed=1)
    found = house.read(npc_to_bytes(whole))
    assert (set(found.npc.state), found.clips) == (set(house.hosted.first_state), [])


def test_a_file_that_is_cut_off_anywhere_is_refused(house: House) -> None:
    ends = [*range(0, 200), *range(200, len(house.file), 61), len(house.file) - 1]
    assert {refused(house, house.file[:end]).reason for end in ends} == {"INVALID_FILE"}


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_flip_is_noticed(data: st.DataObject, house: House) -> None:
    changed = damaged(data, house.file)
    found = outcome(lambda: house.read(changed))
    if isinstance(found, ServiceError):
        assert found.reason == "INVALID_FILE"
        found.status()
    else:  # only the white space between the values of a header can change unnoticed
        assert read_npc(changed, source="file").name == "bob"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda b: struct.pack("<Q", len(b)) + b))
def test_garbage_is_refused(house: House, data: bytes) -> None:
    assert refused(house, data).reason == "INVALID_FILE"


def tensor(key: str, value: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Header, Params], object]:
    return lambda _, tensors: tensors.update({key: value(tensors[key])})


def field(key: str, value: object) -> Callable[[Header, Params], object]:
    return lambda described, _: described.update({key: value})


LAST_FORBIDDEN = torch.tensor([True, True, False, True, True])
FORGED = {
    "expected values in [-1, 1]": tensor("demonstrations.0.continuous_actions", lambda value: value + 5),
    "expected less than [3, 2]": tensor("demonstrations.1.discrete_actions", lambda value: value - 9),
    "forbids the action that was taken": tensor("demonstrations.0.action_mask", lambda value: value & LAST_FORBIDDEN),
    "allows nothing in branch 0": tensor("demonstrations.0.action_mask", torch.zeros_like),
    "weights row 0 holds -1": tensor("demonstrations.0.weights", lambda value: -value),
    "expected 0 to 1e+06": tensor("demonstrations.0.weights", lambda value: value * 1e30),
    "are [4, 6], expected [4, 3]": tensor("demonstrations.0.observations", lambda value: value.repeat(1, 2)),
    "weights are [4, 3], expected [4]": lambda _, t: t.update({"demonstrations.0.weights": torch.ones(4, 3)}),
    "discrete_actions are missing": lambda _, t: t.pop("demonstrations.0.discrete_actions"),
    "weights are all 0": tensor("demonstrations.0.weights", torch.zeros_like),
    "observations are missing, or have no rows": tensor("demonstrations.0.observations", lambda value: value[:0]),
    "holds NaN or infinity": tensor("demonstrations.0.observations", lambda value: value / 0),
    "is torch.float64, expected torch.float32": tensor("demonstrations.0.weights", lambda value: value.double()),
    "expected torch.int64": tensor("demonstrations.0.discrete_actions", lambda value: value.int()),
    "is no field of a demonstration": lambda _, tensors: tensors.update({"demonstrations.0.code": torch.zeros(1)}),
    "its header says that there are 1000000000000": field("demonstrations", 10**12),
    "its header says that there are -1": field("demonstrations", -1),
    "header field demonstrations is of type str": field("demonstrations", "2"),
    "tensor sum holds NaN": tensor("sum", lambda value: value / 0),
    "tensor sum is torch.float32 [1, 3]": tensor("sum", lambda value: value[:, :3].clone()),
    "expected 1 to 63 of a-z": field("name", "../../etc/passwd"),
    "surrogates": field("display_name", "\ud800"),
    "display_name has 121 characters": field("display_name", "x" * 121),
    "archetype_revision is": field("archetype_revision", "\ud800"),
    "examples, expected at most 20000": field("examples", 20_001),
    "seed is": field("seed", 1 << 63),
    "header has fields": field("admin", True),
}  # fmt: skip


@pytest.mark.parametrize("message", FORGED)
def test_what_cannot_be_is_refused_though_its_digest_is_right(message: str, house: House) -> None:
    error = refused(house, forged(house.file, FORGED[message]))
    assert error.reason == "INVALID_FILE"
    assert message in error.message
    assert len(error.message) <= 400


@pytest.mark.parametrize("name", ["scout", "painter"])
def test_what_an_archetype_does_not_have_may_be_absent(name: str, tmp_path: Path) -> None:
    archetype = save(name, tmp_path)
    spec = archetype.spec
    shown = clips.read(clip(spec, 4), spec, name)
    fields = {key: torch.from_numpy(value.copy()) for key, value in shown._asdict().items() if value.size}
    for left_out in ((), ("weights",), ("weights", "action_mask")):
        kept = {key: value for key, value in fields.items() if key not in left_out}
        npc = begin_npc(archetype, "bob")._replace(demonstrations=(kept,))
        [found] = portable.check(portable.read(npc_to_bytes(npc)), Repertoire(catalog.load(tmp_path))).clips
        again = clips.from_bytes(clips.to_bytes(found), spec)
        for one, other in zip(again, shown, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_state_that_cannot_be_played_is_refused(tmp_path: Path) -> None:
    archetype = save("scout", tmp_path)
    whole = begin_npc(archetype, "bob")
    burst = whole._replace(state={key: torch.full_like(value, 3e38) for key, value in whole.state.items()})
    error = outcome(lambda: portable.check(portable.read(npc_to_bytes(burst)), Repertoire(catalog.load(tmp_path))))
    assert isinstance(error, ServiceError)
    assert (error.reason, "the policy puts out NaN" in error.message) == ("INVALID_FILE", True)


def test_a_header_that_is_huge_or_deep_is_not_even_parsed(house: House) -> None:
    text = json.dumps({"__metadata__": {"npcmeta": "[" * MAX_FILE_HEADER}}).encode()
    long = struct.pack("<Q", len(text)) + text
    assert "header of at most 1048576 bytes" in refused(house, long).message
    assert "header of at most" in refused(house, struct.pack("<Q", (1 << 64) - 1) + house.file[8:]).message
    deep = json.dumps({"__metadata__": {"npcmeta": "[" * 200_000}}).encode()
    assert refused(house, struct.pack("<Q", len(deep)) + deep).reason == "INVALID_FILE"


def test_more_examples_than_an_npc_may_have_are_refused(house: House) -> None:
    rows = 20_001
    more: Params = {
        "demonstrations.2.observations": torch.zeros(rows, 3),
        "demonstrations.2.continuous_actions": torch.zeros(rows, 2),
        "demonstrations.2.discrete_actions": torch.zeros(rows, 2, dtype=torch.int64),
        "demonstrations.2.weights": torch.ones(rows),
    }
    data = forged(house.file, lambda described, tensors: (tensors.update(more), described.update(demonstrations=3)))
    assert refused(house, data).reason == "TOO_MANY"


def test_an_archetype_that_is_not_offered_is_named(house: House) -> None:
    data = forged(house.file, field("archetype_name", "knight"))
    error = refused(house, data)  # by name: that it has the revision of another one does not help
    assert (error.reason, "offered are: guard" in error.message) == ("REVISION_UNAVAILABLE", True)


def test_another_revision_needs_demonstrations_unless_nothing_was_learned(house: House, tmp_path: Path) -> None:
    other = save_archetype(house.archetype._replace(provenance={"run": 2}), tmp_path / "guard.safetensors")
    elsewhere = Repertoire(catalog.load(tmp_path))
    taken = portable.check(portable.read(house.file), elsewhere)
    assert (taken.fits, taken.hosted.archetype.revision, len(taken.clips)) == (False, other.revision, 2)
    assert not portable.check(portable.read(npc_to_bytes(house.npc._replace(examples=0))), elsewhere).fits
    error = outcome(lambda: portable.check(portable.read(npc_to_bytes(house.npc)), elsewhere))
    assert isinstance(error, ServiceError)
    assert (error.reason, "holds no demonstrations" in error.message) == ("REVISION_UNAVAILABLE", True)
