"""NPC files that carry what the NPC was adapted from: to the bit, and nothing that is no demonstration."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from npcmeta import header
from npcmeta.archetype import (
    Archetype,
    ArchetypeFileError,
    Npc,
    begin_npc,
    load_npc,
    npc_from_bytes,
    npc_to_bytes,
    read_npc,
    save_archetype,
    save_npc,
)
from npcmeta.demonstrations import demonstration
from npcmeta.types import Params
from tests import toys
from tests.npcmeta.forging import archetype_of, damaged, forged


def shown(*rows: int) -> tuple[Params, ...]:
    return tuple(demonstration(toys.draw_task("mixed", 1, count).support) for count in rows)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Archetype:
    return save_archetype(archetype_of("maml"), tmp_path_factory.mktemp("files") / "guard.safetensors")


@pytest.fixture
def npc(saved: Archetype) -> Npc:
    return begin_npc(saved, "bob", seed=3)._replace(display_name="Bob Ä", examples=5, demonstrations=shown(2, 3))


def test_demonstrations_come_back_as_they_went(npc: Npc, saved: Archetype, tmp_path: Path) -> None:
    save_npc(npc, tmp_path / "bob.npc")
    loaded = load_npc(tmp_path / "bob.npc", saved)
    assert loaded._replace(state={}, demonstrations=()) == npc._replace(state={}, demonstrations=())
    toys.assert_same_bits(loaded.state, npc.state)
    for one, other in zip(loaded.demonstrations, npc.demonstrations, strict=True):
        toys.assert_same_bits(one, other)
    assert set(loaded.demonstrations[0]) == {
        "observations", "continuous_actions", "discrete_actions", "action_mask", "weights"
    }  # fmt: skip


def test_an_npc_without_them_is_the_file_that_it_was(npc: Npc) -> None:
    plain = npc._replace(display_name="", demonstrations=())
    described = npc_to_bytes(plain)
    assert b"demonstrations" not in described
    assert b"display_name" not in described


def test_an_npc_of_any_archetype_can_be_read_and_is_held_against_one(npc: Npc, saved: Archetype) -> None:
    foreign = npc_to_bytes(npc._replace(archetype_name="rival", archetype_revision="f" * 64))
    read = read_npc(foreign, source="bob.npc")
    assert (read.archetype_name, len(read.demonstrations)) == ("rival", 2)
    with pytest.raises(ArchetypeFileError, match="belongs to archetype rival"):
        npc_from_bytes(foreign, saved, source="bob.npc")


BROKEN = {
    "is no field of a demonstration": {"demonstrations.0.rewards": torch.zeros(2)},
    "expected torch.float32": {"demonstrations.0.weights": torch.ones(2, dtype=torch.float64)},
    "expected torch.bool": {"demonstrations.0.action_mask": torch.ones(2, 5)},
    "holds NaN": {"demonstrations.1.observations": torch.full((3, 3), torch.nan)},
    "its header says that there are 2": {"demonstrations.7.weights": torch.ones(2)},
    'tensor "demonstrations.x': {"demonstrations.x.weights": torch.ones(2)},
    'tensor "demonstrations.01': {"demonstrations.01.weights": torch.ones(2)},
}


@pytest.mark.parametrize("message", BROKEN)
def test_what_is_no_demonstration_is_refused_though_its_digest_is_right(message: str, npc: Npc) -> None:
    data = forged(npc_to_bytes(npc), lambda _, tensors: tensors.update(BROKEN[message]))
    with pytest.raises(ArchetypeFileError) as caught:
        read_npc(data, source="bob.npc")
    assert message in str(caught.value)
    assert "bob.npc" in str(caught.value)


def test_numbers_of_a_format_that_numpy_lacks_are_refused(npc: Npc) -> None:
    described = header.describe_npc(npc._replace(demonstrations=())._asdict()) | {"revision": "f" * 64}
    data = save({"odd": torch.zeros(2, dtype=torch.bfloat16)}, {"npcmeta": json.dumps(described)})
    with pytest.raises(ArchetypeFileError, match="common format"):
        read_npc(data, source="bob.npc")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_truncation_or_flip_is_noticed(data: st.DataObject, npc: Npc) -> None:
    content = npc_to_bytes(npc)
    changed = damaged(data, content)
    try:
        loaded = read_npc(changed, source="bob.npc")
    except ArchetypeFileError:
        return
    assert npc_to_bytes(loaded) == content
