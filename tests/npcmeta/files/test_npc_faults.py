"""NPC files from elsewhere are untrusted: whatever is wrong with one, the same error says what it is."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from npcmeta.archetype import (
    Archetype,
    ArchetypeFileError,
    begin_npc,
    load_npc,
    npc_from_bytes,
    npc_to_bytes,
    save_archetype,
)
from tests.npcmeta.forging import archetype_of, damaged, field, forged, nan_at_the_end, quick, tensor


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
